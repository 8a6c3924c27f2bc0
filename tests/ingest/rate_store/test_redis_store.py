"""What only Redis shows: that everything in it ends by itself, and when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingest.rate_store.hash_key import KEY_LASTS_S
from ingest.rate_store.redis_store import KEY_NAME, PREFIX, RedisStore
from ingest.rate_store.store import Charge, RateStoreFailed
from tests.builders.redis import RedisServer, running

pytestmark = [pytest.mark.component, pytest.mark.long]

CHARGE = Charge("requests", "203.0.113.7", 5, 1)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running() as found:
        yield found


async def test_everything_ends_by_itself(server: RedisServer) -> None:
    store = RedisStore(server.url, 60_500)  # in whole seconds: 61
    await store.open()
    for _ in range(7):
        await store.take([CHARGE])
    await store.close()
    with server.client() as client:
        names = [name.decode() for name in client.keys("*")]
        left_s = {name: client.pttl(name) / 1000 for name in names}
    assert all(name.startswith(f"{PREFIX}:") for name in names)
    assert KEY_LASTS_S - 60 < left_s.pop(KEY_NAME) <= KEY_LASTS_S
    assert len(left_s) == 1
    assert all(62 < left <= 2 * 61 for left in left_s.values())


async def test_failure_has_no_password(server: RedisServer) -> None:
    store = RedisStore(server.url.replace("unix://", "unix://me:s3cret@"), 60_000)
    with pytest.raises(RateStoreFailed) as said:
        await store.open()
    await store.close()
    assert "s3cret" not in str(said.value)
