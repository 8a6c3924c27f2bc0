"""Moving to a ClickHouse store: a long first publish that is killed goes on where it
was, and what retired instances have in PostgreSQL is shipped as theirs.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from compactor.publishing.instance import instance_id
from compactor.publishing.publish import publish_newest, retire_instance
from compactor.publishing.ship_retired import ship_retired
from shared.disk.layout import DataDirectory
from shared.erasures import create_request
from shared.settings import Settings
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.store import ClickHouseStore
from shared.stores.clickhouse.tables import events_table
from shared.stores.open_store import open_store
from tests.builders.clickhouse_kinds import KINDS, ClickHouses, running
from tests.builders.erasure import erase
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.stores import publish, store_settings, wrong

pytestmark = pytest.mark.component
DAY_MS = 86_400_000
MONTHS = 4


class Killed(Exception):
    """The process ends here."""


@pytest.fixture(scope="module", params=KINDS)
def servers(request: pytest.FixtureRequest) -> Iterator[ClickHouses]:
    with running(request.param) as found:
        yield found


def months(root: Path, name: str) -> DataDirectory:
    """An event in each of several months, and one of a visitor who will be erased."""
    data = data_directory(root / name)
    lines = [line(f"{name}-{n}", NOON - n * 30 * DAY_MS, NOON) for n in range(MONTHS)]
    sealed(data, [*lines, line(f"{name}-erased", NOON, visitor="erased")])
    fold_all(data)
    return data


def opened(data: DataDirectory, settings: Settings) -> ClickHouseStore:
    store = open_store(settings, instance_id(data))
    assert isinstance(store, ClickHouseStore)
    return store


def counted(servers: ClickHouses, address: str) -> list[str]:
    cluster = parse_cluster(address)
    return sorted(servers.ask(f"SELECT id FROM {cluster.database}.{events_table(cluster)} FINAL").splitlines())


CHILD = """
import os, signal, sys
from pathlib import Path
from compactor.publishing.instance import instance_id
from compactor.publishing.publish import publish_newest
from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.event_key import event_key
from shared.stores.clickhouse.store import ClickHouseStore, HostOfStore

def progress(days, of_all, events):
    if days == 2:
        os.kill(os.getpid(), signal.SIGKILL)

root, address = Path(sys.argv[1]), sys.argv[2]
data = DataDirectory(root)
host = HostOfStore(instance_id(data), "host", "UTC", 760)
key = lambda: event_key(data, "")
store = ClickHouseStore(parse_cluster(address), host, key=key, hosts_database="", note_every_s=0)
publish_newest(data, Settings(data_dir=root, store=address), store, progress=progress)
"""


def test_a_first_publish_that_is_killed_sends_no_finished_day_again(tmp_path: Path, servers: ClickHouses) -> None:
    data, address = months(tmp_path, "a"), servers.database()
    store = opened(data, store_settings(data, store=address))
    done = subprocess.run([sys.executable, "-c", CHILD, str(data.root), address], check=False, cwd=Path.cwd())
    assert done.returncode == -signal.SIGKILL
    assert len(counted(servers, address)) == 2
    sent: list[tuple[int, int, int]] = []
    publish_newest(data, store_settings(data, store=address), store, progress=lambda *each: sent.append(each))
    days, of_all, events = sent[-1]  # those that are there are compared, and not sent
    assert (days, events) == (of_all, MONTHS + 1 - 2)
    assert wrong(data, store) == []


def test_what_is_retired_is_shipped_as_it_was_and_once(tmp_path: Path, servers: ClickHouses, server: Server) -> None:
    gone, living = (months(tmp_path, name) for name in ("gone", "living"))
    postgres, address = server.database(), servers.database()
    for data in (gone, living):
        publish(data, store=postgres)
    retired = UUID(instance_id(gone))
    before = store_settings(living, store=postgres)
    retire_instance(living, before, open_store(before, instance_id(living)), retired)
    create_request(living, "erased", None)
    for _ in range(2):
        erase(living, NOON + DAY_MS, database_url=postgres, store=postgres)
        publish(living, store=postgres)
    settings = store_settings(living, store=address, database_url=postgres)
    store = opened(living, settings)
    publish_newest(living, settings, store)

    def killed(_days: int, _of_all: int, events: int) -> None:
        seen.append(events)
        if len(seen) == 2:
            raise Killed

    seen: list[int] = []
    with pytest.raises(Killed):
        list(ship_retired(living, settings, store, postgres, killed))
    seen = []
    (shipped,) = ship_retired(living, settings, store, postgres, lambda *each: seen.append(each[2]))
    assert (shipped.instance, len(seen)) == (retired, MONTHS - 1)
    assert counted(servers, address) == sorted(f"{name}-{n}" for name in ("gone", "living") for n in range(MONTHS))
    (row,) = [each for each in store.instances() if each.retired_at]
    assert (row.instance, list(ship_retired(living, settings, store, postgres, print))) == (str(retired), [])
    assert wrong(living, store) == []
