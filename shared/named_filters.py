"""Goals and saved filters in goals.json: filters of reports under a name that people
keep (shared/kept_entries.py). A goal may have a value.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shared.disk.layout import DataDirectory
from shared.kept_entries import NO_CONTROLS, Changing, Entries, Found, KeptFile

Kind = Literal["goal", "filter"]
# A report asks about all goals in one statement, which has a bit for each. Both kinds
# of these lengths take less than a file may have.
ENTRIES_MAX = 100
NAME_MAX = 100
FILTER_MAX = 1_000
VALUE_MAX = 1e12

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX, pattern=NO_CONTROLS)]
Filter = Annotated[str, Meta(min_length=1, max_length=FILTER_MAX, pattern=NO_CONTROLS)]
Value = Annotated[float, Meta(ge=-VALUE_MAX, le=VALUE_MAX)]


class NamedFilter(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A filter of reports under a name. `value`: what one event of a goal is worth;
    None: what the event says.
    """

    kind: Kind
    name: Name
    filter: Filter
    value: Value | None = None


# Changes of both kinds have one lock.
NAMED_FILTERS = Entries(
    "goal",
    msgspec.json.Decoder(NamedFilter),
    key=lambda each: (each.kind, each.name),
    kind=lambda each: each.kind,
    most=ENTRIES_MAX,
)


def named_filters_file(data: DataDirectory) -> KeptFile[NamedFilter]:
    return KeptFile(data.goals, data.goals_lock, data.damaged_goals, NAMED_FILTERS)


def of_kind(found: Found[NamedFilter], kind: Kind) -> tuple[NamedFilter, ...]:
    return tuple(each for each in found.entries if each.kind == kind)


def read_named_filters(data: DataDirectory) -> Found[NamedFilter]:
    """What goals.json holds. Raises nothing for what is wrong with it."""
    return named_filters_file(data).read()


def put_named_filter(data: DataDirectory, entry: NamedFilter, changing: Changing | None = None) -> bool:
    """As KeptFile.put."""
    return named_filters_file(data).put(entry, changing)


def delete_named_filter(data: DataDirectory, kind: Kind, name: str, changing: Changing | None = None) -> bool:
    """False if there is none with that name. Raises as KeptFile.delete."""
    return named_filters_file(data).delete((kind, name), changing)
