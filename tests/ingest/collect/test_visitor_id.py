"""Visitors without an id: one hash per visitor and day, the same in every worker, that
cannot be traced once the day is over (P11).
"""

from __future__ import annotations

import hmac
import json
import re
import stat
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from ingest.collect.visitor_id import DailyVisitor, VisitorHash, hash_visitor
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
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", VisitorHash(data, Settings())(NOON, SITE, ADDRESS, UA).today)


def test_visitor_is_the_same_in_two_workers(data: DataDirectory) -> None:
    one, other = VisitorHash(data, Settings()), VisitorHash(data, Settings())
    assert one(NOON, SITE, ADDRESS, UA).today == other(NOON, SITE, ADDRESS, UA).today


def test_workers_that_start_together_agree_on_the_salt(data: DataDirectory) -> None:
    workers = [VisitorHash(data, Settings()) for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        found = set(threads.map(lambda worker: worker(NOON, SITE, ADDRESS, UA).today, workers))
    assert len(found) == 1


def test_restart_keeps_the_salt_of_today(data: DataDirectory) -> None:
    before = VisitorHash(data, Settings())(NOON, SITE, ADDRESS, UA).today
    assert VisitorHash(data, Settings())(NOON + 3_600_000, SITE, ADDRESS, UA).today == before


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
    assert visitor(NOON, *other).today != visitor(NOON, SITE, ADDRESS, UA).today


def test_another_installation_gives_another_visitor(tmp_path: Path) -> None:
    found = set()
    for name in ("one", "other"):
        directory = DataDirectory(tmp_path / name)
        make_data_directory(directory)
        found.add(VisitorHash(directory, Settings())(NOON, SITE, ADDRESS, UA).today)
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
    assert (visitor(ms(first), SITE, ADDRESS, UA).today == visitor(ms(second), SITE, ADDRESS, UA).today) == same


# When an event without a visitor happened, the settings, and whether it has the hash of
# its receipt at noon of 22 November (UTC).
LATE = {
    "now": ("2026-11-22T12:00:00Z", Settings(), True),
    "the first moment of the day": ("2026-11-22T00:00:00Z", Settings(), True),
    "the last moment of the day before": ("2026-11-21T23:59:59.999Z", Settings(), False),
    "two days before": ("2026-11-20T12:00:00Z", Settings(), False),
    "the first moment of Berlin's day": ("2026-11-21T23:00:00Z", BERLIN, True),
    "the last moment of Berlin's day before": ("2026-11-21T22:59:59.999Z", BERLIN, False),
    "the last moment of Berlin's day": ("2026-11-22T22:59:59.999Z", BERLIN, True),
    "a clock ahead, after midnight": ("2026-11-23T00:00:00Z", Settings(), False),
}


def of_event(visitor: DailyVisitor, time_ms: int) -> str:
    return visitor.today if visitor.start_ms <= time_ms < visitor.end_ms else visitor.on(time_ms)


@pytest.mark.parametrize(("happened", "settings", "same"), LATE.values(), ids=LATE)
def test_event_of_another_day_than_its_receipt_has_another_hash(
    data: DataDirectory, happened: str, settings: Settings, same: bool
) -> None:
    visitor = VisitorHash(data, settings)(NOON, SITE, ADDRESS, UA)
    assert (of_event(visitor, ms(happened)) == visitor.today) == same
    assert re.fullmatch(r"[A-Za-z0-9_-]{16}", of_event(visitor, ms(happened)))


def test_hash_of_a_late_event_is_that_of_its_day_under_the_salt_of_its_receipt(data: DataDirectory) -> None:
    visitor = VisitorHash(data, BERLIN)(NOON, SITE, ADDRESS, UA)
    key = bytes.fromhex(salt(data))

    def hashed(*texts: str) -> str:
        return urlsafe_b64encode(hmac.digest(key, "\0".join(texts).encode(), "sha256")[:12]).decode()

    assert visitor.today == hashed(SITE, ADDRESS, UA)
    assert visitor.on(ms("2026-11-20T23:00:00Z")) == hashed("2026-11-21", SITE, ADDRESS, UA)
    assert visitor.on(ms("2026-11-21T22:59:59Z")) == hashed("2026-11-21", SITE, ADDRESS, UA)
    assert visitor.on(ms("2026-11-20T22:59:59Z")) == hashed("2026-11-20", SITE, ADDRESS, UA)


def test_late_event_has_not_the_hash_that_the_visitor_had_on_its_day(data: DataDirectory) -> None:
    visitor = VisitorHash(data, Settings())
    yesterday = visitor(NOON - 86_400_000, SITE, ADDRESS, UA)
    assert visitor(NOON, SITE, ADDRESS, UA).on(NOON - 86_400_000) != yesterday.today


def test_late_events_of_one_day_have_one_hash_in_all_workers(data: DataDirectory) -> None:
    one, other = (VisitorHash(data, Settings())(NOON + n, SITE, ADDRESS, UA) for n in range(2))
    late = NOON - 86_400_000
    assert one.on(late) == other.on(late + 3_600_000) != other.on(late - 86_400_000)


# Zones whose clocks are changed at midnight, and one that skipped a day.
@pytest.mark.parametrize(
    ("zone", "around"),
    [
        ("Asia/Beirut", "2026-03-29T00:00:00+03:00"),
        ("Asia/Beirut", "2026-10-25T00:00:00+02:00"),
        ("America/Havana", "2026-03-08T00:00:00-04:00"),
        ("America/Havana", "2026-11-01T00:00:00-05:00"),
        ("America/Asuncion", "2023-03-26T00:00:00-04:00"),
        ("Pacific/Apia", "2011-12-31T00:00:00+14:00"),
    ],
)
def test_days_are_those_of_the_zone_where_clocks_change_at_midnight(
    data: DataDirectory, zone: str, around: str
) -> None:
    settings = Settings(timezone=zone)
    quarters = [ms(around) + quarter * 900_000 for quarter in range(-120, 120)]
    local = {moment: datetime.fromtimestamp(moment / 1000, settings.zone).date() for moment in quarters}
    visitor = VisitorHash(data, settings)
    for received in quarters[::13]:
        of_client = visitor(received, SITE, ADDRESS, UA)
        for moment in quarters:
            assert (of_event(of_client, moment) == of_client.today) == (local[moment] == local[received])


def test_worker_that_was_idle_over_midnight_uses_the_salt_of_the_other(data: DataDirectory) -> None:
    one, other = VisitorHash(data, Settings()), VisitorHash(data, Settings())
    assert one(NOON, SITE, ADDRESS, UA).today == other(NOON, SITE, ADDRESS, UA).today
    tomorrow = NOON + 86_400_000
    assert one(tomorrow, SITE, ADDRESS, UA).today == other(tomorrow + 5, SITE, ADDRESS, UA).today


def test_old_salt_is_nowhere_in_the_directory_after_midnight(data: DataDirectory) -> None:
    visitor = VisitorHash(data, Settings())
    visitor(NOON, SITE, ADDRESS, UA)
    old = salt(data)
    visitor(NOON + 86_400_000, SITE, ADDRESS, UA)
    assert salt(data) != old
    assert not any(old.encode() in path.read_bytes() for path in data.root.rglob("*") if path.is_file())


def test_clock_that_steps_back_over_midnight_restores_no_old_salt(data: DataDirectory) -> None:
    visitor = VisitorHash(data, Settings())
    before = visitor(NOON, SITE, ADDRESS, UA).today
    visitor(NOON + 86_400_000, SITE, ADDRESS, UA)
    assert visitor(NOON, SITE, ADDRESS, UA).today != before


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
    before = visitor(ms(made), SITE, ADDRESS, UA).today
    old = salt(data)
    visitor.delete_expired_salt(ms(checked))
    assert data.salt.exists() == stays
    if not stays:
        assert not any(old.encode() in path.read_bytes() for path in data.root.rglob("*") if path.is_file())
    assert (visitor(ms(made), SITE, ADDRESS, UA).today == before) == stays


def test_salt_of_a_clock_that_was_years_ahead_is_replaced(data: DataDirectory) -> None:
    visitor = VisitorHash(data, Settings())
    visitor(ms("2090-01-01T00:00:00Z"), SITE, ADDRESS, UA)
    days = {visitor(NOON + day * 86_400_000, SITE, ADDRESS, UA).today for day in range(3)}
    assert len(days) == 3


def test_worker_that_was_idle_over_midnight_does_not_delete_the_new_salt(data: DataDirectory) -> None:
    idle, busy = VisitorHash(data, Settings()), VisitorHash(data, Settings())
    idle(NOON, SITE, ADDRESS, UA)
    tomorrow = NOON + 86_400_000
    made = busy(tomorrow, SITE, ADDRESS, UA).today
    kept = salt(data)
    idle.delete_expired_salt(tomorrow)
    assert salt(data) == kept
    assert idle(tomorrow, SITE, ADDRESS, UA).today == made
    assert VisitorHash(data, Settings())(tomorrow, SITE, ADDRESS, UA).today == made


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
    assert VisitorHash(data, Settings())(NOON, SITE, ADDRESS, UA).today
    assert len(salt(data)) == 64


def test_user_agent_that_is_not_utf_8_is_hashed() -> None:
    assert hash_visitor(b"salt", SITE, ADDRESS, "\udcff") != hash_visitor(b"salt", SITE, ADDRESS, "\udcfe")


def test_addresses_of_one_ipv6_network_are_one_visitor(data: DataDirectory) -> None:
    visitor = VisitorHash(data, Settings())
    addresses = ["2001:db8:1:2::1", "2001:db8:1:2:aaaa:bbbb:cccc:dddd", "2001:DB8:1:2::", "2001:db8:1:2::1%eth0"]
    assert len({visitor(NOON, SITE, address, UA).today for address in addresses}) == 1
    assert visitor(NOON, SITE, "2001:db8:1:3::1", UA).today != visitor(NOON, SITE, addresses[0], UA).today


def test_addresses_of_one_ipv4_network_are_different_visitors(data: DataDirectory) -> None:
    visitor = VisitorHash(data, Settings())
    assert visitor(NOON, SITE, "203.0.113.1", UA).today != visitor(NOON, SITE, "203.0.113.2", UA).today
