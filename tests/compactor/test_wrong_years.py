"""A line of the year 9999 or of the year 1 stands in a log, as an import could once
write it: it is counted, and hinders nothing.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory, SegmentName
from shared.generations.load import load_snapshot
from shared.segments.line import append_crc
from shared.segments.sealed import sha256_line
from tests.builders.archive import assert_verified
from tests.builders.command import run_here
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.server import environment, run_foldlog

DAY_MS = 86_400_000
LAST = "9999-12-31T23:59:59.999Z"
FIRST = "0001-01-01T00:00:00.000Z"
TODAY = "2026-11-22T12:00:00.000Z"
# That of the last times that there are, and others.
ZONES = ["Pacific/Kiritimati", *(pytest.param(zone, marks=pytest.mark.long) for zone in ("UTC", "Etc/GMT+12"))]


def seal_raw(data: DataDirectory, writer: str, times: dict[str, str]) -> None:
    """A sealed segment of version 1 lines, by id. Raw: no code of today writes them."""
    event = b'{"v":1,"received":"2026-11-22T12:00:00.000Z","site":"example.com","id":"%b","name":"pageview","time":"%b"'
    lines = append_crc(b"", [event % (id_.encode(), time.encode()) for id_, time in times.items()])
    name = SegmentName(writer, 1, datetime(2026, 11, 22, 12, tzinfo=UTC))
    (data.log / name.file).write_bytes(lines)
    (data.log / name.checksum).write_bytes(sha256_line(hashlib.sha256(lines).hexdigest(), name.file))


@pytest.mark.parametrize("zone", ZONES)
def test_every_command_works_over_a_log_with_a_wrong_year(tmp_path: Path, zone: str) -> None:
    data = data_directory(tmp_path / "data")
    environ = environment(data.root, timezone=zone)

    def foldlog(*arguments: str) -> str:
        run = run_foldlog if arguments[0] == "compact" else run_here
        done = run(list(arguments), environ)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def events() -> int:
        answer = json.loads(foldlog("report", "--from", "2026-11-20", "--to", "2026-11-24", "--by", "path", "--json"))
        return int(answer["total"]["events"])

    seal_raw(data, "import", {"of-9999-1": LAST, "of-9999-2": LAST, "of-year-1": FIRST, "of-today": TODAY})
    foldlog("compact", "--once")
    assert events() == 1
    seal_raw(data, "0", {"of-9999-1": LAST, "of-today": TODAY, "another-of-today": TODAY, "of-9999-3": LAST})
    foldlog("compact", "--once")
    assert events() == 2
    foldlog("verify")
    foldlog("status")
    foldlog("export", "--from", "2026-11-20", "--to", "2026-11-24")
    foldlog("retain")
    foldlog("rebuild")
    foldlog("verify")
    assert events() == 2
    snapshot = load_snapshot(data)
    assert (snapshot.totals.counted, snapshot.totals.duplicates) == (6, 2)
    assert set(snapshot.days) == {date(1, 1, 1), date(2026, 11, 22), date(9999, 12, 31)}


def test_visitor_with_an_event_of_the_year_9999_is_erased(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    environ = environment(data.root)
    sealed(data, [line("event-1", 253_402_300_799_999, NOON, visitor="ann"), line("event-2", visitor="bob")])
    assert run_foldlog(["compact", "--once"], environ).returncode == 0
    erased = run_here(["erase", "--visitor", "ann"], environ)
    assert erased.returncode == 0, erased.stderr
    assert load_snapshot(data).totals.erased == 1
    assert_verified(data)


@pytest.mark.parametrize("zone", ZONES)
def test_day_that_has_not_come_expires_like_one_on_which_it_was_folded(tmp_path: Path, zone: str) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1", 253_402_300_799_999, NOON), line("event-2")])
    fold(data, timezone=zone, archive_retention_days=10)
    for days in range(1, 11):
        fold(data, NOON + days * DAY_MS, timezone=zone, archive_retention_days=10)
        assert [day.expired for day in load_snapshot(data).days.values()] == [False, False]
    fold(data, NOON + 11 * DAY_MS, timezone=zone, archive_retention_days=10)
    assert [day.expired for day in load_snapshot(data).days.values()] == [True, True]
    assert_verified(data)
