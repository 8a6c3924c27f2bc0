"""Events as a store that keeps them one by one gets them: in files for each of its
shards, a month at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from pathlib import Path
from typing import NamedTuple


class Shipping(NamedTuple):
    """What a store asks for. `key`: of the hashes by which hosts and shards compare
    events, in hex digits. `is_parquet`: the form of its files, else TabSeparated.

    `write_hashes` writes a line for each event that the store has of this instance on a
    day. `doubtful`: days of which it may have some that the generation it holds does
    not name.
    """

    instance: str
    key: str
    shards: int
    write_hashes: Callable[[date, Path], None]
    doubtful: AbstractSet[date] = frozenset()
    is_parquet: bool = True


class EventBatch(NamedTuple):
    """What a publish does to days of one month. By shard: `files` of rows to be
    inserted, none of them empty. `removed`: by day, hashes of events that are not there
    any more. `replaced`: days of which only what is inserted stays. `events`: how many
    rows.
    """

    days: Sequence[date]
    files: Sequence[Sequence[Path]]
    removed: Mapping[date, Sequence[int]]
    replaced: Sequence[date]
    events: int = 0
