"""The files of tables are of the same tables."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from shared.stores import clickhouse
from shared.stores.clickhouse.columns import event_columns

REPLICATED = "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', "


def text(name: str) -> str:
    found = resources.files(clickhouse).joinpath(name).read_text("utf-8")
    return "\n".join(line for line in found.splitlines() if not line.startswith("--")).strip()


def columns(name: str) -> list[str]:
    """Of events, without those that are computed."""
    (body,) = re.findall(r"EXISTS analytics_events \(\n(.*?)\n\)\nENGINE", text(name), re.DOTALL)
    return [line.split()[0] for line in body.splitlines() if " ALIAS " not in line]


def test_tables_of_replicas_are_those_of_one_server() -> None:
    plain = text("tables.sql").replace("{engine}(", REPLICATED)
    of_all = (
        "CREATE TABLE IF NOT EXISTS analytics_events_all AS analytics_events\n"
        "ENGINE = Distributed(analytics, currentDatabase(), analytics_events, h);"
    )
    assert text("tables_replicated.sql") == f"{plain};\n\n{of_all}"


@pytest.mark.parametrize("name", ["tables.sql", "tables_before_24.sql", "tables_replicated.sql"])
def test_columns_are_those_that_are_inserted(name: str) -> None:
    assert columns(name) == list(event_columns(escaped=False))
