"""Lines of an access log: what becomes an event, what is rejected and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from foldlog.commands.import_ import summary
from foldlog.importers.combined import FUTURE_MAX_MS, Imported, LineRejected, Rejected, import_combined, parse_line
from shared.segments.sealed import readable_lines, sealed_segments
from shared.settings import Settings
from shared.timestamps import epoch_ms
from tests.builders.logs import data_directory
from tests.builders.silent_log import SilentLog

NOW = epoch_ms("2026-11-22T12:00:00Z")


def entry(time: str, request: str = "GET /a HTTP/1.1") -> bytes:
    return f'203.0.113.9 - - [{time}] "{request}" 200 512 "-" "curl/8.0"\n'.encode()


# Times of lines that are imported on 22 November 2026 at noon (UTC), and the time of
# their events.
ACCEPTED = {
    "now": ("22/Nov/2026:12:00:00 +0000", "2026-11-22T12:00:00Z"),
    "tomorrow at noon": ("23/Nov/2026:12:00:00 +0000", "2026-11-23T12:00:00Z"),
    "the same instant far in the east": ("24/Nov/2026:02:00:00 +1400", "2026-11-23T12:00:00Z"),
    "the same instant far in the west": ("23/Nov/2026:00:00:00 -1200", "2026-11-23T12:00:00Z"),
    "the beginning": ("01/Jan/1970:00:00:00 +0000", "1970-01-01T00:00:00Z"),
}
REJECTED = {
    "a second beyond tomorrow": ("23/Nov/2026:12:00:01 +0000", "dated beyond tomorrow"),
    "beyond tomorrow only by its offset": ("23/Nov/2026:11:30:00 -0031", "dated beyond tomorrow"),
    "next year": ("22/Nov/2027:12:00:00 +0000", "dated beyond tomorrow"),
    "the last day that a calendar has": ("31/Dec/9999:23:59:59 +0000", "dated beyond tomorrow"),
    "year 10000 in UTC": ("31/Dec/9999:23:59:59 -2359", "dated beyond tomorrow"),
    "before 1970": ("31/Dec/1969:23:59:59 +0000", "dated before 1970"),
    "before 1970 only by its offset": ("01/Jan/1970:00:30:00 +0100", "dated before 1970"),
    "year 0 in UTC": ("01/Jan/0001:00:00:00 +2359", "dated before 1970"),
    "no such day": ("31/Feb/2026:00:00:00 +0000", "not in combined format"),
    "no such year": ("22/Nov/10000:12:00:00 +0000", "not in combined format"),
    "no such offset": ("22/Nov/2026:12:00:00 +9959", "not in combined format"),
    "no offset": ("22/Nov/2026:12:00:00", "not in combined format"),
    "digits of another script": ("22/Nov/\u0662\u0660\u0662\u0666:12:00:00 +0000", "not in combined format"),
}


@pytest.mark.parametrize(("time", "utc"), ACCEPTED.values(), ids=ACCEPTED)
def test_time_up_to_tomorrow_is_accepted(time: str, utc: str) -> None:
    found = parse_line(entry(time), NOW)
    assert found is not None
    assert found.time_ms == epoch_ms(utc)


@pytest.mark.parametrize(("time", "reason"), REJECTED.values(), ids=REJECTED)
def test_other_time_is_rejected_with_the_reason(time: str, reason: str) -> None:
    with pytest.raises(LineRejected) as caught:
        parse_line(entry(time), NOW)
    assert caught.value.reason == reason


def test_other_line_is_rejected_and_other_request_skipped() -> None:
    with pytest.raises(LineRejected, match="not in combined format"):
        parse_line(b"what is this\n", NOW)
    assert parse_line(entry("22/Nov/2026:12:00:00 +0000", "POST /a HTTP/1.1"), NOW) is None


def test_import_appends_the_good_lines_and_says_what_it_rejected(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    now = datetime.now(UTC)
    far = now + timedelta(milliseconds=FUTURE_MAX_MS, hours=1)
    file = tmp_path / "access.log"
    times = [f"{each:%d/%b/%Y:%H:%M:%S} +0000" for each in (now, far)]
    file.write_bytes(
        entry("22/Nov/2020:12:00:00 +0000")
        + b"what is this\n"
        + entry(times[1])
        + entry("31/Dec/9999:23:59:59 -2359")
        + entry(times[0], "POST / HTTP/1.1")
        + entry(times[0])
    )
    done = import_combined(file, "example.com", data, Settings(data_dir=data.root), SilentLog(), lambda _position: None)
    assert done == Imported(
        lines=6,
        events=2,
        skipped=1,
        rejected={"not in combined format": Rejected(1, 2), "dated beyond tomorrow": Rejected(2, 3)},
    )
    assert summary(done) == (
        "6 lines: 2 events appended, 1 other requests, 3 rejected "
        "(2 dated beyond tomorrow, first line 3; 1 not in combined format, first line 2)"
    )
    (segment,) = sealed_segments(data)
    events = [json.loads(line) for line in readable_lines(segment.path)]
    assert [event["time"][:10] for event in events] == ["2020-11-22", f"{now:%Y-%m-%d}"]


def test_summary_of_a_file_without_a_rejected_line() -> None:
    assert summary(Imported(2, 2, 0)) == "2 lines: 2 events appended, 0 other requests, 0 rejected"
