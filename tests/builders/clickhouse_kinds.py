"""Which ClickHouse there is: Debian's old one as two shards, and today's as one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import pytest

from tests.builders import clickhouse, clickhouse_today
from tests.builders.waiting import TIMEOUT_S

# Both show the same.
KINDS = ("shards", pytest.param("today", marks=pytest.mark.long))


class ClickHouses(Protocol):
    def database(self) -> str:
        """FOLDLOG_STORE of a new, empty database."""

    def ask(self, sql: str, timeout_s: float = TIMEOUT_S) -> str:
        """What the first server answers, as TabSeparated."""


@contextmanager
def running(kind: str) -> Iterator[ClickHouses]:
    """Skips the test without what it needs, or fails it in CI."""
    if kind == "shards":
        with clickhouse.running(2) as shards:
            yield shards
    else:
        with clickhouse_today.running() as server:
            yield server
