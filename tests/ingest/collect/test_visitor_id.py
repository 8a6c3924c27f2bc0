"""Visitors without an id: one hash per visitor and day, the same in every worker, that
cannot be traced once the day is over (P11).
"""

from __future__ import annotations

import json
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from ingest.collect.visitor_id import VisitorHash, hash_visitor
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.settings import Settings

ADDRESS = "203.0.113.77"
UA = "Mozilla/5.0 (X11; Linux x86_64)"
SITE = "example.com"
BERLIN = Settings(timezone="Europe/Berlin")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


NOON = ms("2026-11-22T12:00:00Z")


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    directory = DataDirectory(tmp_path / "data")
    make_data_directory(directory)
    return directory


def salt(data: DataDirectory) -> str:
    return str(json.loads(data.salt.read_bytes())["salt"])


def test_visitor_is_16_characters_that_are_an_id(data: DataDirectory) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", VisitorHash(data, Settings())(NOON, SITE, ADDRESS, UA))


def test_visitor_is_the_same_in_two_workers(data: DataDirectory) -> None:
    one, other = VisitorHash(data, Settings()), VisitorHash(data, Settings())
    assert one(NOON, SITE, ADDRESS, UA) == other(NOON, SITE, ADDRESS, UA)


def test_workers_that_start_together_agree_on_the_salt(data: DataDirectory) -> None:
    workers = [VisitorHash(data, Settings()) for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(lambda worker: worker(NOON, SITE, ADDRESS, UA), workers))
    assert len(found) == 1


def test_restart_keeps_the_salt_of_today(data: DataDirectory) -> None:
    before = VisitorHash(data, Settings())(NOON, SITE, ADDRESS, UA)
    assert VisitorHash(data, Settings())(NOON + 3_600_000, SITE, ADDRESS, UA) == before


OTHERS = {
    "site": ("other.example", ADDRESS, UA),
    "address": (SITE, "203.0.113.78", UA),
    "user agent": (SITE, ADDRESS, UA + " "),
    "no user agent": (SITE, ADDRESS, ""),
    "the border between them": (SITE + "2", ADDRESS[1:], UA),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_site_address_or_agent_is_another_visitor(data: DataDirectory, other: tuple[str, str, str]) -> None:
    visitor = VisitorHash(data, Settings())
    assert visitor(NOON, *other) != visitor(NOON, SITE, ADDRESS, UA)


def test_another_installation_gives_another_visitor(tmp_path: Path) -> None:
    found = set()
    for name in ("one", "other"):
        directory = DataDirectory(tmp_path / name)
        make_data_directory(directory)
        found.add(VisitorHash(directory, Settings())(NOON, SITE, ADDRESS, UA))
    assert len(found) == 2


# Two instants, the settings, and whether a visitor is the same at both.
DAYS = {
    "morning and evening": ("2026-11-22T00:00:00Z", "2026-11-22T23:59:59.999Z", Settings(), True),
    "over midnight": ("2026-11-22T23:59:59.999Z", "2026-11-23T00:00:00Z", Settings(), False),
    "over midnight of UTC, in Berlin": ("2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z", BERLIN, True),
    "over midnight of Berlin": ("2026-11-22T23:59:59.999+01:00", "2026-11-23T00:00:00+01:00", BERLIN, False),
    "over midnight of Berlin in summer": ("2026-07-01T23:59:59+02:00", "2026-07-02T00:00:00+02:00", BERLIN, False),
    "a day of 25 hours": ("2026-10-25T00:00:00+02:00", "2026-10-25T23:59:59+01:00", BERLIN, True),
}


@pytest.mark.parametrize(("first", "second", "settings", "same"), DAYS.values(), ids=DAYS)
def test_visitor_changes_at_midnight_of_the_zone(
    data: DataDirectory, first: str, second: str, settings: Settings, same: bool
) -> None:
    visitor = VisitorHash(data, settings)
    assert (visitor(ms(first), SITE, ADDRESS, UA) == visitor(ms(second), SITE, ADDRESS, UA)) == same


def test_worker_that_was_idle_over_midnight_uses_the_salt_of_the_other(data: DataDirectory) -> None:
    one, other = VisitorHash(data, Settings()), VisitorHash(data, Settings())
    assert one(NOON, SITE, ADDRESS, UA) == other(NOON, SITE, ADDRESS, UA)
    tomorrow = NOON + 86_400_000
    assert one(tomorrow, SITE, ADDRESS, UA) == other(tomorrow + 5, SITE, ADDRESS, UA)


def test_old_salt_is_nowhere_in_the_directory_after_midnight(data: DataDirectory) -> None:
    visitor = VisitorHash(data, Settings())
    visitor(NOON, SITE, ADDRESS, UA)
    old = salt(data)
    visitor(NOON + 86_400_000, SITE, ADDRESS, UA)
    assert salt(data) != old
    assert not any(old.encode() in path.read_bytes() for path in data.root.rglob("*") if path.is_file())


def test_clock_that_steps_back_over_midnight_restores_no_old_salt(data: DataDirectory) -> None:
    visitor = VisitorHash(data, Settings())
    before = visitor(NOON, SITE, ADDRESS, UA)
    visitor(NOON + 86_400_000, SITE, ADDRESS, UA)
    assert visitor(NOON, SITE, ADDRESS, UA) != before


# When the salt was made, when the worker checks whether its day is over, and whether it
# is kept.
CHECKS = {
    "the same moment": ("2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z", Settings(), True),
    "the last moment of the day": ("2026-11-22T12:00:00Z", "2026-11-22T23:59:59.999Z", Settings(), True),
    "midnight": ("2026-11-22T23:59:59.999Z", "2026-11-23T00:00:00Z", Settings(), False),
    "a month later": ("2026-11-22T12:00:00Z", "2026-12-22T12:00:00Z", Settings(), False),
    "a year later to the day": ("2026-11-22T12:00:00Z", "2027-11-22T12:00:00Z", Settings(), False),
    "midnight of UTC, in Berlin": ("2026-11-22T23:30:00Z", "2026-11-23T00:00:00Z", BERLIN, True),
    "midnight of Berlin": ("2026-11-22T12:00:00Z", "2026-11-22T23:00:00Z", BERLIN, False),
    "a check that began before another worker began the day": (
        "2026-11-23T00:00:00Z",
        "2026-11-22T23:59:59.999Z",
        Settings(),
        True,
    ),
    "a clock that was two days ahead": ("2026-11-24T12:00:00Z", "2026-11-22T12:00:00Z", Settings(), False),
    "a clock that was years ahead": ("2090-01-01T00:00:00Z", "2026-11-22T12:00:00Z", Settings(), False),
}


@pytest.mark.parametrize(("made", "checked", "settings", "stays"), CHECKS.values(), ids=CHECKS)
def test_salt_is_deleted_when_its_day_is_over_without_traffic(
    data: DataDirectory, made: str, checked: str, settings: Settings, stays: bool
) -> None:
    visitor = VisitorHash(data, settings)
    before = visitor(ms(made), SITE, ADDRESS, UA)
    old = salt(data)
    visitor.delete_expired_salt(ms(checked))
    assert data.salt.exists() == stays
    if not stays:
        assert not any(old.encode() in path.read_bytes() for path in data.root.rglob("*") if path.is_file())
    assert (visitor(ms(made), SITE, ADDRESS, UA) == before) == stays


def test_salt_of_a_clock_that_was_years_ahead_is_replaced(data: DataDirectory) -> None:
    visitor = VisitorHash(data, Settings())
    visitor(ms("2090-01-01T00:00:00Z"), SITE, ADDRESS, UA)
    days = {visitor(NOON + day * 86_400_000, SITE, ADDRESS, UA) for day in range(3)}
    assert len(days) == 3


def test_worker_that_was_idle_over_midnight_does_not_delete_the_new_salt(data: DataDirectory) -> None:
    idle, busy = VisitorHash(data, Settings()), VisitorHash(data, Settings())
    idle(NOON, SITE, ADDRESS, UA)
    tomorrow = NOON + 86_400_000
    made = busy(tomorrow, SITE, ADDRESS, UA)
    kept = salt(data)
    idle.delete_expired_salt(tomorrow)
    assert salt(data) == kept
    assert idle(tomorrow, SITE, ADDRESS, UA) == made
    assert VisitorHash(data, Settings())(tomorrow, SITE, ADDRESS, UA) == made


def test_start_deletes_an_expired_salt_and_keeps_that_of_today(data: DataDirectory) -> None:
    VisitorHash(data, Settings())(NOON, SITE, ADDRESS, UA)
    VisitorHash(data, Settings()).delete_expired_salt(NOON + 3_600_000)
    assert data.salt.exists()
    VisitorHash(data, Settings()).delete_expired_salt(NOON + 86_400_000)
    assert not data.salt.exists()


def test_deletion_without_a_salt_does_nothing(data: DataDirectory) -> None:
    VisitorHash(data, Settings()).delete_expired_salt(NOON)
    assert list(data.private.iterdir()) == []


def test_salt_is_readable_by_its_owner_only(data: DataDirectory) -> None:
    VisitorHash(data, Settings())(NOON, SITE, ADDRESS, UA)
    assert stat.S_IMODE(data.salt.stat().st_mode) == 0o600
    assert stat.S_IMODE(data.salt_lock.stat().st_mode) == 0o600
    assert stat.S_IMODE(data.private.stat().st_mode) == 0o700


def test_address_and_user_agent_are_nowhere_in_the_directory(data: DataDirectory) -> None:
    VisitorHash(data, Settings())(NOON, SITE, ADDRESS, UA)
    for path in data.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert ADDRESS.encode() not in content
            assert UA.encode() not in content


def test_salt_is_long_and_of_today(data: DataDirectory) -> None:
    VisitorHash(data, Settings())(NOON, SITE, ADDRESS, UA)
    kept = json.loads(data.salt.read_bytes())
    assert kept["day"] == "2026-11-22"
    assert len(bytes.fromhex(kept["salt"])) == 32


UNREADABLE = {
    "empty": b"",
    "torn": b"{",
    "array": b"[]",
    "wrong types": b'{"day":1}',
    "not UTF-8": b'{"day":"\xff"}',
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_salt_is_replaced(data: DataDirectory, content: bytes) -> None:
    data.salt.write_bytes(content)
    assert VisitorHash(data, Settings())(NOON, SITE, ADDRESS, UA)
    assert len(salt(data)) == 64


def test_user_agent_that_is_not_utf_8_is_hashed() -> None:
    assert hash_visitor(b"salt", SITE, ADDRESS, "\udcff") != hash_visitor(b"salt", SITE, ADDRESS, "\udcfe")
