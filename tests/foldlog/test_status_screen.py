"""`foldlog status` says first whether all is well, and fits a terminal of 80 columns
and 24 lines, whatever there is to say.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foldlog.processes import Running, find_running, flocks
from foldlog.quantities import size, span
from foldlog.status_screen import fitted, problems, screen
from ingest.collect.undeclared_proxy import MIN_REQUESTS
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Retention, Snapshot, Totals, encode_snapshot
from shared.settings import Settings
from shared.status import Status, read_status
from shared.stores.condition import StoreStatus
from shared.timestamps import now_ms, rfc3339
from shared.undeclared_proxy import WARNING, UndeclaredProxy
from tests.builders.command import run_here
from tests.builders.logs import data_directory, line, sealed
from tests.builders.server import Server, environment
from tests.builders.waiting import until

WELL = Running(4711, {"0": True})
SETTINGS = Settings(fold_interval=60)
ROWS = [
    *("accepted", "  counted", "  duplicates", "  quarantined", "  erased", "  not yet folded", "  difference"),
    *("snapshot", "last fold", "last retention", "active segments", "sealed segments"),
    *("workers", "disk free", "log, archive, counters"),
]


def entry(segment: str) -> dict[str, object]:
    return {"segment": segment, "day": None, "lines": 1, "bytes": 9, "reason": "Broken: so", "tries": 3}


def found(**changes: Any) -> Status:
    """A status that all is well with; `changes` go into its parts: `disk={"free_bytes":
    1}`.
    """
    status: dict[str, Any] = {
        "balance": {
            "accepted": 12,
            "counted": 10,
            "duplicates": 1,
            "quarantined": 1,
            "not_yet_folded": 0,
            "difference": 0,
        }
        | {"conflicts": 0, "erased": 0, "set_aside": 0},
        "erasures_pending": 0,
        "segments": {"active": {"0": 0}, "sealed_unfolded": 0, "missing": {}, "damaged": 0},
        "generation": 3,
        "as_of": "2026-11-22T22:18:06.550Z",
        "lag_s": 12.0,
        "last_fold": {"segments": 1, "lines": 4, "seconds": 0.244},
        "last_retention": {
            "at": "2026-11-22T22:18:06.550Z",
            "segments": 0,
            "archive_days": 0,
            "counter_days": 0,
            "skipped": None,
            "last_success": "2026-11-22T22:18:06.550Z",
            "on_hold": {},
            "confirmed": [],
            "over_limit": {},
        },
        "disk": {
            "free_bytes": 81 << 30,
            "reserve_bytes": 512 << 20,
            "log_bytes": 1348,
            "archive_bytes": 1,
            "counters_bytes": 2,
        },
        "warnings": [],
        "days": None,
        "set_aside": [],
        "recent": [],
        "capped": [],
        "absorbed": [],
        "store": None,
    }
    for name, change in changes.items():
        status[name] = {**status[name], **change} if isinstance(change, Mapping) else change
    return msgspec.convert(status, Status)


def said(status: Status, running: Running = WELL) -> list[tuple[str, str]]:
    return [(problem.level, problem.text) for problem in problems(status, running, SETTINGS)]


def test_ok_is_one_line_followed_by_the_numbers() -> None:
    lines = screen(found(), WELL, SETTINGS, 80, 24)
    assert lines[:2] == ["OK: every event is accounted for; last fold 12 s ago.", ""]
    assert [row[:24].rstrip() for row in lines[2:]] == ROWS
    assert screen(found(lag_s=None), WELL, SETTINGS, 80, 24)[0].endswith("nothing has been folded yet.")


def test_last_days_and_capped_dimensions_are_rows() -> None:
    recent = [
        {"day": "2026-11-22", "events": 1, "visitors": None},
        {"day": "2026-11-21", "events": 1234, "visitors": 56},
    ]
    capped = [{"day": f"2026-11-{day}", "capped": ["path", "referrer"], "uncounted": []} for day in range(20, 15, -1)]
    lines = screen(found(recent=recent, capped=capped), WELL, SETTINGS, 200, 30)
    rows = dict(line.split("  ", 1) for line in lines if "  " in line.strip())
    assert rows["on 2026-11-22"].strip() == "1 event (without bots)"
    assert rows["on 2026-11-21"].strip() == "1,234 events, 56 visitors (without bots)"
    days = "; ".join(f"2026-11-{day}: path, referrer" for day in (20, 19, 18))
    assert rows["capped"].strip() == f"{days}; and 2 more days"


STORE = {"store": "sqlite:///a.db", "generation": 3, "as_of": None, "published_at": None, "lag_s": 0.0, "failures": 0}
STORE |= {"failing_since": None, "refused": False, "waiting_ids": 0, "error": None}
STORES = [
    ({}, "generation 3, the newest"),
    ({"generation": 0, "lag_s": 90.0}, "nothing published yet, 90 s behind"),
    ({"generation": 0, "lag_s": 400.0, "failures": 2}, "nothing published yet, 7 min behind; 2 attempts failed"),
    ({"generation": 2, "lag_s": 400.0}, "generation 2 of 3, 7 min behind"),
    ({"waiting_ids": 1}, "generation 3, the newest; 1 id to be yielded"),
    ({"failures": 3, "refused": True}, "generation 3, the newest; refused"),
]


@pytest.mark.parametrize(("changes", "expected"), STORES)
def test_store_is_a_row(changes: dict[str, Any], expected: str) -> None:
    status = msgspec.structs.replace(found(), store=msgspec.convert(STORE | changes, StoreStatus))
    (row,) = [each for each in screen(status, WELL, SETTINGS, 200, 40) if each.startswith("store ")]
    assert row.removeprefix("store").strip() == expected


# What is there, what runs, how it is called, and what is said of it.
PROBLEMS: dict[str, tuple[dict[str, Any], Running, str, str]] = {
    "events missing": ({"balance": {"difference": 3}}, WELL, "WRONG", "3 events missing: `foldlog verify` finds where"),
    "event too many": (
        {"balance": {"difference": -1}},
        WELL,
        "WRONG",
        "1 event too many: `foldlog verify` finds where",
    ),
    "disk": (
        {"disk": {"free_bytes": 5 << 20}},
        WELL,
        "WRONG",
        "events are rejected: 5.0 MiB free, less than FOLDLOG_DISK",
    ),
    "nothing runs": ({}, Running(None, {}), "WRONG", "no process of Foldlog is running here: start `foldlog serve`"),
    "long ago": (
        {"lag_s": 2e5},
        Running(None, {}),
        "WRONG",
        "no process of Foldlog is running here (last fold 2 days ago): start",
    ),
    "no worker": ({}, Running(4711, {}), "WRONG", "no worker is running; events are refused"),
    "stuck worker": ({}, Running(4711, {"0": True, "1": False}), "WRONG", "worker 1 does not respond"),
    "stuck workers": (
        {},
        Running(4711, dict.fromkeys("01234", False)),
        "WRONG",
        "workers 0, 1, 2 and 2 more do not respond",
    ),
    "set aside": (
        {"balance": {"set_aside": 3}, "set_aside": [entry("a"), entry("b")]},
        WELL,
        "WRONG",
        "3 events could not be folded, of a, b (Broken: so): they stay in the log; `foldlog compact --retry` tries",
    ),
    "late fold": (
        {"lag_s": 181.0},
        WELL,
        "WRONG",
        "last fold 3 min ago, due every 60 s: check that the compactor",
    ),
    "missing": (
        {"segments": {"missing": {"0": [4]}}},
        WELL,
        "WRONG",
        "1 segment missing (0: 4): `foldlog verify` shows what",
    ),
    "retention": (
        {"last_retention": {"skipped": "the clock jumped"}},
        WELL,
        "WARNING",
        "retention deletes nothing: the clock",
    ),
    "warning": ({"warnings": [WARNING]}, WELL, "WARNING", WARNING),
}


@pytest.mark.parametrize(("changes", "running", "level", "text"), PROBLEMS.values(), ids=PROBLEMS)
def test_problem_is_shown_with_what_to_type(changes: dict[str, Any], running: Running, level: str, text: str) -> None:
    ((level_said, text_said),) = said(found(**changes), running)
    assert level_said == level
    assert text_said.startswith(text)
    head, first, *_ = screen(found(**changes), running, SETTINGS, 80, None)
    assert head.startswith("PROBLEMS: 1." if level == "WRONG" else "OK with 1 warning;")
    assert first == f"{level}: {text_said}"


NOT_PROBLEMS: dict[str, tuple[dict[str, Any], Running]] = {
    "damage of the past": ({"segments": {"damaged": 3}}, WELL),
    "worse first fold": ({"lag_s": None}, WELL),
    "three intervals": ({"lag_s": 180.0}, WELL),
    "no reserve": ({"disk": {"free_bytes": 0, "reserve_bytes": 0}}, WELL),
    "without serve": ({}, Running(None, {"0": True})),
    "may not ask": ({}, Running(None, None)),
    "gap that was filled": ({"segments": {"missing": {"0": []}}}, WELL),
}


@pytest.mark.parametrize(("changes", "running"), NOT_PROBLEMS.values(), ids=NOT_PROBLEMS)
def test_normal_state_is_no_problem(changes: dict[str, Any], running: Running) -> None:
    assert said(found(**changes), running) == []


def everything_wrong(writers: int = 64) -> tuple[Status, Running]:
    """A large installation on its worst day."""
    names = [str(number) for number in range(writers)]
    gaps = {name: list(range(1, 100_000, 2)) for name in names}
    status = found(
        balance={"difference": 123_456_789, "accepted": 10**12, "duplicates": 10**11, "conflicts": 10**10},
        disk={"free_bytes": 1, "log_bytes": 10**14},
        segments={
            "active": dict.fromkeys(names, 64 << 20),
            "missing": gaps,
            "sealed_unfolded": 100_000,
            "damaged": 99_999,
        },
        lag_s=8_000_000.0,
        last_retention={"skipped": "the clock is more than 48 hours ahead of the last snapshot"},
        warnings=[WARNING, "snapshot.json is damaged: " + "x" * 300, WARNING],
    )
    return status, Running(4711, dict.fromkeys(names, False))


@pytest.mark.parametrize("height", [24, 30, 50])
def test_screen_fits_whatever_is_wrong(height: int) -> None:
    status, running = everything_wrong()
    lines = screen(status, running, SETTINGS, 80, height)
    assert len(lines) <= height - 1  # the prompt
    assert max(len(each) for each in lines) <= 80
    assert lines[0] == "PROBLEMS: 5."
    assert lines[1].startswith("WRONG: 123,456,789 events missing")
    assert lines[2].startswith("WRONG: events are rejected")
    assert any(re.fullmatch("… and [0-9]+ more: foldlog status [|] cat", each) for each in lines) == (height == 24)
    assert [row[:24].rstrip() for row in lines[-len(ROWS) :]] == ROWS


def test_pipe_gets_all_lines_uncut() -> None:
    status, running = everything_wrong(4)
    text = "\n".join(screen(status, running, SETTINGS, 80, None))
    assert text.count(WARNING) == 2 and "x" * 300 in text
    assert "200,000 segments missing (0: 1, 3, 5 and 49,997 more; 1: 1, 3" in text
    assert len(text) < 4_000  # counts, not lists


@pytest.mark.parametrize("room", range(1, 12))
@pytest.mark.parametrize("count", range(12))
def test_texts_are_fitted_to_any_room(count: int, room: int) -> None:
    texts = [f"{number} " + "word " * 40 for number in range(count)]
    lines = fitted(texts, 60, room)
    assert len(lines) <= room and all(len(each) <= 60 for each in lines)
    if count <= room:
        assert [each.split()[0] for each in lines if not each.startswith(" ")] == [
            str(number) for number in range(count)
        ]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 days")]
)
def test_span(value: float, text: str) -> None:
    assert span(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (1023, "1023 B"), (1 << 29, "512.0 MiB"), (10**15, "909.5 TiB")]
)
def test_size(value: int, text: str) -> None:
    assert size(value) == text


def on_terminal(environ: Mapping[str, str], rows: int = 24, columns: int = 80) -> list[str]:
    """What `foldlog status` shows on a real terminal of that size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    sized = dict(environ) | {"COLUMNS": str(columns), "LINES": str(rows), "TERM": "xterm-256color"}
    with subprocess.Popen(
        [sys.executable, "-m", "foldlog", "status"], env=sized, stdout=theirs, stdin=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # EIO: it has ended
            while block := os.read(ours, 1 << 16):
                shown += block
        assert process.wait(60) == 0
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode("utf-8"))
    assert "\x1b" not in text
    return text.replace("\r\n", "\n").rstrip("\n").split("\n")


def test_real_terminal_with_several_writers_and_warnings_is_not_overrun(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    for writer in range(8):
        data.active(str(writer)).write_bytes(b"")
    jumped = rfc3339(now_ms() - 86_400_000)
    doubt = "the clock jumped; if it stays steady, retention goes on at 2026-11-24T22:18:06.550Z"
    snapshot = Snapshot(
        generation=9,
        as_of=rfc3339(now_ms() - 600_000),
        folded={"0": 9, "1": 4},
        missing={"0": (3, 4, 5, 6, 7), "1": (2,)},
        totals=Totals(lines=10, counted=9),
        retention=Retention(at=jumped, skipped=doubt, clock_suspect_since=jumped),
    )
    data.snapshot.write_bytes(encode_snapshot(snapshot))
    seen = UndeclaredProxy(jumped, MIN_REQUESTS, "")
    data.undeclared_proxy.write_text(f'{{"since":"{seen.since}","requests":{seen.requests},"trusted_proxies":""}}')
    environ = environment(data.root, disk_reserve="1000000 GiB", fold_interval=60)

    lines = on_terminal(environ)

    assert len(lines) <= 23 and max(map(len, lines)) <= 80, "\n".join(lines)
    assert lines[0] == "PROBLEMS: 4."
    assert [each.split(":")[0] for each in lines[1:7]] == ["WRONG"] * 4 + ["WARNING"] * 2
    assert [row[:24].rstrip() for row in lines[-len(ROWS) :]] == ROWS
    piped = run_here(["status"], environ)
    assert (piped.returncode, piped.stderr) == (0, "")
    assert WARNING in piped.stdout and doubt in piped.stdout


def test_control_characters_of_a_path_are_escaped(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "da\x1b[2Jta")
    data.snapshot.write_bytes(b"damaged")
    shown = run_here(["status"], environment(data.root)).stdout
    assert "\x1b" not in shown and "da\\u001b[2Jta" in shown


@pytest.mark.long
def test_unresponsive_worker_and_serve_are_shown(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        until(lambda: find_running(server.data).responsive == ["0", "1"])
        seen = find_running(server.data)
        assert (seen.serve, seen.unresponsive, seen.is_nothing) == (server.running.pid, [], False)
        server.fold()
        lines = on_terminal(server.environ)
        assert lines[0].startswith("OK: every event is accounted for; last fold")
        assert f"2 responding, under `foldlog serve` (process {server.running.pid})" in "\n".join(lines)
        stuck = server.child("ingest-1")
        os.kill(stuck, signal.SIGSTOP)
        try:
            shown = run_here(["status"], server.environ).stdout
        finally:
            os.kill(stuck, signal.SIGCONT)
        assert "WRONG: worker 1 does not respond" in shown
        server.stop()
        assert find_running(server.data) == Running(None, {})
        assert (
            "WRONG: no process of Foldlog is running here: start `foldlog serve`"
            in run_here(["status"], server.environ).stdout
        )
        server.start()


LOCKS = """\
1: POSIX  ADVISORY  WRITE 812 00:19:1046 0 EOF
2: FLOCK  ADVISORY  WRITE 16717 08:01:4021 0 EOF
3: -> FLOCK  ADVISORY  WRITE 16800 08:01:4021 0 EOF
4: OFDLCK ADVISORY  READ  -1 08:01:5000 128 128
5: FLOCK  ADVISORY  READ  99 fd:03:77 0 EOF
"""


def test_locks_are_parsed() -> None:
    assert flocks(LOCKS) == [(16717, 4021), (99, 77)]
    assert flocks("") == []


def test_status_of_many_segments_counts_them(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    name = sealed(data, [line("event-0001")])
    for number in range(2, 2_002):
        (data.log / f"{name.stem[:-10]}{number:010d}.ndjson").write_bytes(b"")
    status = read_status(data, Settings(data_dir=data.root))
    assert status.segments.sealed_unfolded == 2_001
    assert len(screen(status, WELL, SETTINGS, 80, 24)) < 24


def test_directory_without_run_has_no_processes(tmp_path: Path) -> None:
    assert find_running(DataDirectory(tmp_path)) == Running(None, {})
