"""Odd texts and clocks in a ClickHouse store: each text arrives byte by byte, and of
copies the one that was received first counts, whatever the clocks say.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.tables import events_table
from tests.builders.clickhouse_kinds import KINDS, ClickHouses
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.stores import publish, wrong

pytestmark = [pytest.mark.component, pytest.mark.long]
YEAR_MS = 365 * 86_400_000
ODD = (
    "\0",
    "a\0b",
    "\\0",
    "\r",
    "a\r\n",
    "\\N",
    "\\n",
    "N",
    "\b\f\v\x1b",
    "\x7f\x80\u0085",
    "\u2028\ufeff",
    "\U0010ffff",
    "'\"`$1{x:String}",
    "]['",
    "%s%%",
)


@pytest.fixture(scope="module", params=KINDS)
def servers(request: pytest.FixtureRequest) -> ClickHouses:
    found: ClickHouses = request.getfixturevalue(f"clickhouse_{request.param}")
    return found


def rows(servers: ClickHouses, address: str, what: str) -> list[str]:
    cluster = parse_cluster(address)
    return sorted(servers.ask(f"SELECT {what} FROM {cluster.database}.{events_table(cluster)} FINAL").splitlines())


def test_odd_texts_arrive_in_every_field(tmp_path: Path, servers: ClickHouses) -> None:
    address, data = servers.database(), data_directory(tmp_path / "data")
    sealed(
        data,
        [
            line(
                f"event-{n:02}",
                name=f"n{odd}",
                visitor=f"v{odd}",
                session=f"s{odd}",
                ua=f"u{odd}",
                language=f"l{odd}",
                url=f"https://example.com/p{odd}",
                referrer=f"https://other.org/r{odd}",
                sender=f"k{odd}",
                props={f"p{odd}": f"q{odd}"},
            )
            for n, odd in enumerate(ODD)
        ],
    )
    fold_all(data)
    store = publish(data, store=address)
    assert wrong(data, store) == []
    texts = "id, hex(event), hex(visitor), hex(session), hex(ua), hex(sender), hex(prop_keys[1]), hex(prop_values[1])"
    expected = [
        "\t".join([f"event-{n:02}", *(f"{each}{odd}".encode().hex().upper() for each in "nvsukpq")])
        for n, odd in enumerate(ODD)
    ]
    assert rows(servers, address, texts) == expected
    publish(data, store=address)
    assert len(rows(servers, address, "id")) == len(ODD)


def test_the_copy_received_first_counts_whatever_the_clocks_say(
    tmp_path: Path, servers: ClickHouses, server: Server
) -> None:
    """The clock of one host is far in the future or in the past."""
    address, database = servers.database(), server.database()
    years = (-56, -1, 0, 1, 60)
    for n, year in enumerate(reversed(years)):
        data = data_directory(tmp_path / str(n))
        others = [
            line(f"of-{year}-and-{other}", NOON, _clock(year), visitor=str(year)) for other in years if other < year
        ]
        own = [line(f"of-{other}-and-{year}", NOON, _clock(year), visitor=str(year)) for other in years if other > year]
        sealed(data, [*others, *own])
        fold_all(data, NOON)
        publish(data, store=address, database_url=database)
    found = dict(row.split("\t") for row in rows(servers, address, "id, visitor"))
    assert found == {f"of-{late}-and-{early}": str(early) for late in years for early in years if early < late}


def _clock(years: int) -> int:
    return NOON + years * YEAR_MS
