"""A directory of events, and questions of one named kind about them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import duckdb

from ingest.collect.encode import Line
from reports.kinds import parse_question
from reports.report import make_report
from shared.disk.layout import DataDirectory
from shared.generations.load import load_snapshot
from tests.builders.logs import FIREFOX


class AskedKind(NamedTuple):
    """`always` are parameters of every question, with the kind."""

    data: DataDirectory
    database: duckdb.DuckDBPyConnection
    events: list[Line]
    now: datetime
    always: dict[str, str]

    def __repr__(self) -> str:
        """Short: hypothesis shows the arguments of what fails."""
        return f"AskedKind({self.always})"

    def ask(self, **parameters: str) -> dict[str, Any]:
        query = parse_question({**self.always, **parameters}, self.now, "UTC")
        return make_report(self.database, self.data, load_snapshot(self.data), query)

    @property
    def people(self) -> list[Line]:
        return [event for event in self.events if event.ua == FIREFOX]
