"""Exports that have sums alone: they are read, added up, and not imported."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from foldlog.importers.outcome import summary
from tests.builders.access_logs import events_of
from tests.builders.command import run_here
from tests.builders.exports import GA4, PLAUSIBLE, import_exports, written_export, written_zip
from tests.builders.server import environment


class Stream(io.RawIOBase):
    """What Plausible writes its zip to: a stream without a way back."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        return self._file.write(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def test_zip_that_was_streamed_is_read(tmp_path: Path) -> None:
    file = tmp_path / "streamed.zip"
    with Stream(file) as stream, zipfile.ZipFile(cast("BinaryIO", stream), "w", zipfile.ZIP_STORED) as archive:
        for name, content in PLAUSIBLE.items():
            archive.writestr(name, content)
    (sums,) = import_exports(tmp_path, file).sums
    assert [each.rows for each in sums.tables] == [1, 3, 2]


def test_plausible_is_added_up_and_compared(tmp_path: Path) -> None:
    file = written_zip(tmp_path / "example_com_20230210.zip", {**PLAUSIBLE, "readme.txt": "x"})
    assert summary(import_exports(tmp_path, file)) == [
        "0 lines: 0 events appended, 0 rejected",
        f"{file}: an export of Plausible: sums, no events; nothing of it is imported",
        "  imported_custom_events: 1 rows, 2023-02-09 to 2023-02-09: visitors 3, events 4",
        "  imported_pages: 3 rows, 2023-02-09 to 2023-02-10: visits 76, visitors 74, pageviews 200",
        "  imported_visitors: 2 rows, 2023-02-09 to 2023-02-10: visitors 71, pageviews 200, visits 75",
        "  pageviews by day 200, by page 200: equal",
    ]
    assert events_of(tmp_path) == []


def test_one_table_of_plausible_and_rows_that_are_none(tmp_path: Path) -> None:
    name = "imported_visitors_20230209_20230210.csv"
    content = PLAUSIBLE[name] + '"2023-02-11",-1,1e9,0,0,0\n"2023-02-11",1\n'
    (sums,) = import_exports(tmp_path, written_export(tmp_path / name, content)).sums
    (table,) = sums.tables
    assert (table.name, table.rows, table.bad, table.sums["pageviews"]) == ("imported_visitors", 2, 2, 200)


def test_report_of_google_analytics_is_recognised(tmp_path: Path) -> None:
    file = written_export(tmp_path / "report.csv", GA4 + "\n# ------\nCountry,Views\nDE,3\n")
    (sums,) = import_exports(tmp_path, file).sums
    assert [(each.rows, each.columns) for each in sums.tables] == [
        (2, ("Page path and screen class", "Views", "Active users")),
        (1, ("Country", "Views")),
    ]


SUMS = {
    "plausible": PLAUSIBLE,
    "goatcounter as JSON": {"info.json": "{}", "hit_stats.jsonl": "", "paths.jsonl": ""},
    "an own umami": {"events.csv": "t,x,y\n", "pages.csv": "x,y\n/,3\n", "referrers.csv": "x,y\n"},
}


@pytest.mark.parametrize("members", SUMS.values(), ids=SUMS)
def test_command_says_why_nothing_was_imported_and_ends_with_1(members: dict[str, str], tmp_path: Path) -> None:
    file = written_zip(tmp_path / "export.zip", members)
    done = run_here(["import", "--site", "example.com", str(file)], environment(tmp_path / "data", disk_reserve=0))
    assert done.returncode == 1
    assert f"nothing of {file} was imported" in done.stderr and "made-up ones" in done.stderr
    assert "0 events appended" in done.stdout
