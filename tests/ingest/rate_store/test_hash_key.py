"""The names of clients in a store."""

from __future__ import annotations

from ingest.rate_store.hash_key import NAME_BYTES, HashKey, make_key

CLIENT = "requests 203.0.113.77"


def test_hosts_with_one_key_have_one_name_for_a_client() -> None:
    one, other, key = HashKey(), HashKey(), make_key()
    one.set(key, 60)
    other.set(key, 30)
    assert one.name(CLIENT) == other.name(CLIENT)
    assert len(one.name(CLIENT)) == NAME_BYTES
    assert one.name(CLIENT) != one.name("events 203.0.113.77")


def test_another_key_gives_another_name() -> None:
    key = HashKey()
    names = set()
    for _ in range(3):
        key.set(make_key(), 60)
        names.add(key.name(CLIENT))
    assert len(names) == 3


def test_key_is_over_when_the_store_says_so() -> None:
    times = iter([100.0, 100.0, 159.9, 160.0])
    key = HashKey(lambda: next(times))
    before = key.is_over
    key.set(make_key(), 60)
    assert (before, key.is_over, key.is_over) == (True, False, True)


def test_address_that_is_no_text_has_a_name() -> None:
    key = HashKey()
    key.set(make_key(), 60)
    assert len(key.name("requests \udcff")) == NAME_BYTES
