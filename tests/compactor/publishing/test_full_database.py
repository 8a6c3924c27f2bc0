"""A database whose disk is full: the publish fails and says why, folds go on, and once
there is room everything is published.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from shared.generations.load import load_snapshot
from shared.stores.ledger import StoreUnavailable
from shared.stores.open_store import open_store
from tests.builders.full_disk import server_on_a_disk
from tests.builders.logs import line
from tests.builders.store_hosts import StoreHost, counted_ids
from tests.builders.stores import wrong

pytestmark = pytest.mark.component


def receive(host: StoreHost, turn: int) -> None:
    host.receive([line(f"event-{turn}-{n}", url=f"https://example.com/{turn}/{n}") for n in range(500)])


@pytest.mark.long
def test_publishes_wait_for_room_on_the_disk_of_the_database(tmp_path: Path) -> None:
    with server_on_a_disk() as (server, disk):
        host = StoreHost(tmp_path / "a", server.database())
        receive(host, 0)
        host.settle()
        store = open_store(host.settings, host.instance)
        before = store.position()
        disk.fill()
        for turn in (1, 2):
            receive(host, turn)
            with pytest.raises(StoreUnavailable, match="No space left on device") as failed:
                host.publish()
            assert isinstance(failed.value.__cause__, psycopg.errors.DiskFull)
            assert load_snapshot(host.data).totals.counted == 500 * (turn + 1)
            assert store.position() == before
        disk.free()
        host.settle()
        assert wrong(host.data, store) == []
        assert set(counted_ids(host.settings.store, tmp_path).values()) == {1}
        assert len(counted_ids(host.settings.store, tmp_path)) == 1_500
