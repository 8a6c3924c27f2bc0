"""Answers are of the published snapshot only, and bounded in bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from reports.query import Query, parse
from reports.reader.cache import CACHE_MAX_BYTES, AnswerCache
from shared.disk.durable import publish
from shared.disk.layout import DataDirectory
from tests.builders.logs import data_directory


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return data_directory(tmp_path)


def a_query(limit: int) -> Query:
    return parse({"limit": str(limit), "from": "2026-11-22"}, datetime(2026, 11, 22, tzinfo=UTC), "UTC")


def test_nothing_is_kept_before_a_snapshot_is_published(data: DataDirectory) -> None:
    cache = AnswerCache(data)
    cache.put(a_query(1), "json", b"answer", cache.published())
    assert cache.get(a_query(1), "json") is None


def test_answer_is_of_one_query_and_format(data: DataDirectory) -> None:
    publish(data.snapshot, b"one")
    cache = AnswerCache(data)
    cache.put(a_query(1), "json", b"of one", cache.published())
    assert cache.get(a_query(1), "json") == b"of one"
    assert cache.get(a_query(1), "csv") is None
    assert cache.get(a_query(2), "json") is None


def test_answer_is_of_the_published_snapshot(data: DataDirectory) -> None:
    publish(data.snapshot, b"one")
    cache = AnswerCache(data)
    before = cache.published()
    cache.put(a_query(1), "json", b"of one", before)
    publish(data.snapshot, b"two")
    assert cache.get(a_query(1), "json") is None
    cache.put(a_query(1), "json", b"of one or two", before)
    assert cache.get(a_query(1), "json") is None


def test_least_recently_used_answers_are_evicted(data: DataDirectory) -> None:
    publish(data.snapshot, b"one")
    cache = AnswerCache(data)
    for limit in range(1, 11):
        cache.put(a_query(limit), "json", bytes(CACHE_MAX_BYTES // 8), cache.published())
        cache.get(a_query(1), "json")
    kept = [limit for limit in range(1, 11) if cache.get(a_query(limit), "json") is not None]
    assert kept == [1, 4, 5, 6, 7, 8, 9, 10]


def test_large_answer_is_not_kept(data: DataDirectory) -> None:
    publish(data.snapshot, b"one")
    cache = AnswerCache(data)
    cache.put(a_query(1), "json", bytes(CACHE_MAX_BYTES // 8 + 1), cache.published())
    assert cache.get(a_query(1), "json") is None
