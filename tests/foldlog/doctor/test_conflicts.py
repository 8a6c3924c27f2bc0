"""One id for two different events is a conflict: the doctor tells of new ones, and
docs/reports.md has a command that lists them.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from foldlog.doctor.data_probe import files
from foldlog.doctor.finding import Finding
from foldlog.processes import Running
from shared.disk.layout import DataDirectory
from shared.segments.sealed import sealed_segments
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.pages import fenced, page, section
from tests.builders.programs import program


def finding(data: DataDirectory) -> Finding:
    (found,) = (each for each in files(data, sealed_segments(data), Running(None, {})) if each.check == "conflicts")
    return found


def test_doctor_warns_of_conflicts_while_they_are_new(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    assert finding(data).level == "ok"
    sealed(data, [line("event-1", url="https://example.com/a"), line("event-2")])
    fold(data)
    assert finding(data).level == "ok"
    sealed(data, [line("event-1", received_ms=NOON + 1, url="https://example.com/b"), line("event-2")])
    fold(data)
    assert (finding(data).level, finding(data).found[:28]) == ("warning", "1 since generation 1, 1 in a")
    for minute in range(1, 6):
        sealed(data, [line(f"event-of-minute-{minute}")])
        fold(data, NOON + minute * 60_000)
    assert (finding(data).level, finding(data).found[-8:]) == ("ok", "1 in all")


def test_damaged_kept_snapshot_does_not_hide_a_conflict(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    for number in range(3):
        sealed(data, [line("event-1", received_ms=NOON + number, url=f"https://example.com/{max(0, number - 1)}")])
        fold(data)
    data.kept_snapshot(1).write_bytes(b"{")
    assert (finding(data).level, finding(data).found[:20]) == ("warning", "1 since generation 2")


def test_documented_command_lists_conflicts_and_nothing_else(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line("event-1", url="https://example.com/a"), line("event-2", url="https://example.com/a")])
    sealed(
        data,
        [
            line("event-1", received_ms=NOON + 1, url="https://example.com/b"),
            line("event-2", received_ms=NOON + 1, url="https://example.com/a", ua="another"),
            line("event-2", sender="key", name="of another sender"),
            line("event-2", site="example.org", name="of another site"),
        ],
    )
    (command,) = fenced(section(page("docs/reports.md"), "Events"), "sh")
    program("jq")
    done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [row.split("\t")[1:5] for row in done.stdout.splitlines()] == [
        ["page", "event-1", "pageview", "https://example.com/a"],
        ["page", "event-1", "pageview", "https://example.com/b"],
    ]
