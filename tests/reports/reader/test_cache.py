"""Answers are of the published snapshot only, and bounded in bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.reader.cache import CACHE_MAX_BYTES, AnswerCache
from reports.reader.question import Question
from shared.disk.durable import publish
from shared.disk.layout import DataDirectory
from tests.builders.logs import data_directory


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return data_directory(tmp_path)


def a_question(limit: int, format_: str = "json") -> Question:
    return Question((("limit", str(limit)),), format_, 0)


def test_nothing_is_kept_before_a_snapshot_is_published(data: DataDirectory) -> None:
    cache = AnswerCache(data)
    cache.put(a_question(1), b"answer", cache.published())
    assert cache.get(a_question(1)) is None


def test_answer_is_of_one_question_and_format(data: DataDirectory) -> None:
    publish(data.snapshot, b"one")
    cache = AnswerCache(data)
    cache.put(a_question(1), b"of one", cache.published())
    assert cache.get(a_question(1)) == b"of one"
    assert cache.get(a_question(1, "csv")) is None
    assert cache.get(a_question(2)) is None


def test_answer_is_of_the_published_snapshot(data: DataDirectory) -> None:
    publish(data.snapshot, b"one")
    cache = AnswerCache(data)
    before = cache.published()
    cache.put(a_question(1), b"of one", before)
    publish(data.snapshot, b"two")
    assert cache.get(a_question(1)) is None
    cache.put(a_question(1), b"of one or two", before)
    assert cache.get(a_question(1)) is None


def test_least_recently_used_answers_are_evicted(data: DataDirectory) -> None:
    publish(data.snapshot, b"one")
    cache = AnswerCache(data)
    for limit in range(1, 11):
        cache.put(a_question(limit), bytes(CACHE_MAX_BYTES // 8), cache.published())
        cache.get(a_question(1))
    kept = [limit for limit in range(1, 11) if cache.get(a_question(limit)) is not None]
    assert kept == [1, 4, 5, 6, 7, 8, 9, 10]


def test_large_answer_is_not_kept(data: DataDirectory) -> None:
    publish(data.snapshot, b"one")
    cache = AnswerCache(data)
    cache.put(a_question(1), bytes(CACHE_MAX_BYTES // 8 + 1), cache.published())
    assert cache.get(a_question(1)) is None
