"""Exports through the whole: recognised, imported, folded, reported, and again."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from foldlog.importers.exports.kinds import kind_of_text
from foldlog.importers.exports.limits import BrokenExport
from shared.disk.layout import DataDirectory
from shared.timestamps import now_ms
from tests.builders.access_logs import SITE, combined, counted, written
from tests.builders.command import run_here
from tests.builders.exports import (
    GA4,
    GOATCOUNTER_2,
    PLAUSIBLE,
    UMAMI,
    action,
    hit,
    import_exports,
    table,
    view,
    visit,
    written_export,
    written_zip,
)
from tests.builders.logs import fold_all
from tests.builders.server import environment

HITS = table(GOATCOUNTER_2, [hit(f"/{n % 7}", n % 5, n) for n in range(60)])
VIEWS = table(UMAMI, [view(n, n % 4, event_type="2" if n % 9 == 0 else "1", event_name="sold") for n in range(60)])
VISITS = json.dumps([visit(n, [action(10 * n), action(10 * n + 1, "outlink")]) for n in range(1, 31)])
BEGINNINGS = {
    "goatcounter": [HITS, f"\ufeff{HITS}", '"2Path","Title"\n'],
    "umami": [VIEWS],
    "matomo": [VISITS, f" {VISITS}", VISITS[1:-1]],
    "plausible": [*PLAUSIBLE.values()],
    "ga4": [GA4, GA4.replace("Start date: ", "Date de début : "), GA4.replace("\n", "\r\n")],
    None: [
        combined(),
        '{"remote_addr":"192.0.2.1","request":"GET / HTTP/1.1"}',
        "date,path\n",
        "",
        "#Software: IIS",
        f"# ----------\n# rotated\n# ----------\n{combined()}\n",
    ],
}


def test_kind_of_a_file_is_known_by_how_it_begins() -> None:
    for kind, texts in BEGINNINGS.items():
        assert {kind_of_text(each.encode()) for each in texts} == {kind}


def recount() -> dict[str, tuple[int, int]]:
    """Of each day's event names: events and visitors, from the texts above alone."""
    found: dict[str, tuple[int, int]] = {}
    views: Counter[str] = Counter()
    visitors: dict[str, set[str]] = {}

    def add(name: str, visitor: str) -> None:
        views[name] += 1
        visitors.setdefault(name, set()).add(visitor)

    for row in HITS.splitlines()[1:]:
        add("pageview", row.split(",")[6])
    for row in VIEWS.splitlines()[1:]:
        cells = row.split(",")
        add("pageview" if cells[UMAMI.index("event_type")] == "1" else "sold", cells[1])
    for each in json.loads(VISITS):
        for done in each["actionDetails"]:
            add("pageview" if done["type"] == "action" else "outbound", each["visitorId"])
    found = {name: (views[name], len(visitors[name])) for name in views}
    everyone = set().union(*visitors.values())
    return {**found, "": (sum(views.values()), len(everyone))}


def asked(tmp_path: Path, *options: str) -> dict[str, Any]:
    done = run_here(
        ["report", "--json", "--from", "2026-03-01", "--to", "2026-03-01", *options],
        environment(tmp_path / "data", disk_reserve=0),
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_exports_of_three_tools_are_imported_folded_and_reported_once(tmp_path: Path) -> None:
    files = [
        str(written_export(tmp_path / "hits.csv.gz", gzip.compress(HITS.encode()))),
        str(written_zip(tmp_path / "umami.zip", {"website_event.csv": VIEWS})),
        str(written_export(tmp_path / "visits.json", VISITS)),
    ]
    environ = environment(tmp_path / "data", disk_reserve=0)
    dry = run_here(["import", "--dry-run", "--site", SITE, *files], environ)
    assert dry.returncode == 0 and "180 events would be appended" in dry.stdout
    assert dry.stdout.count(": equal") == 3
    assert not (tmp_path / "data").exists()
    for _ in range(2):
        done = run_here(["import", "--site", SITE, *files], environ)
        assert done.returncode == 0, done.stderr
        assert "180 events appended" in done.stdout
        fold_all(DataDirectory(tmp_path / "data"), now_ms())
    expected = recount()
    answer = asked(tmp_path, "--by", "event")
    assert {row["value"]: (row["events"], row["visitors"]) for row in answer["rows"]} == {
        name: each for name, each in expected.items() if name
    }
    assert (answer["total"]["events"], answer["total"]["visitors"]) == expected[""]
    paths = {row["value"]: row["events"] for row in asked(tmp_path, "--by", "path", "--event", "pageview")["rows"]}
    ours = Counter(row.partition(",")[0] for row in HITS.splitlines()[1:])
    assert paths["/3"] == ours["/3"] + VIEWS.count(",/3,")
    assert run_here(["verify"], environ).returncode == 0


def test_import_that_was_cut_off_is_repeated_without_counting_twice(tmp_path: Path) -> None:
    file = written_export(tmp_path / "hits.csv", HITS[: len(HITS) // 2])
    import_exports(tmp_path, file)
    before = counted(tmp_path)
    file.write_text(HITS)
    import_exports(tmp_path, file)
    assert 20 < before < counted(tmp_path) == 60


def test_single_file_in_a_zip_is_read_as_it_is(tmp_path: Path) -> None:
    for name, content in (("hits.csv", HITS), ("visits.json", VISITS)):
        import_exports(tmp_path, written_zip(tmp_path / f"{name}.zip", {f"down/{name}": content}, zipfile.ZIP_STORED))
    assert counted(tmp_path) == 120


def test_format_that_is_named_must_be_that_of_the_archive(tmp_path: Path) -> None:
    file = written_zip(tmp_path / "umami.zip", {"website_event.csv": VIEWS, "x.csv": ""})
    for format_ in ("goatcounter", "matomo"):
        with pytest.raises(BrokenExport, match="not an export of"):
            import_exports(tmp_path, file, format_=format_)
    with pytest.raises(BrokenExport, match="not a known export"):
        import_exports(tmp_path, written_zip(tmp_path / "any.zip", {"a.csv": "", "b.csv": ""}))


def test_logs_and_exports_may_be_named_in_one_call(tmp_path: Path) -> None:
    log = written(tmp_path / "access.log", [combined()])
    export = written_export(tmp_path / "hits.csv", HITS)
    assert import_exports(tmp_path, log, export).events == 61


@pytest.mark.parametrize("content", [HITS, VISITS, gzip.compress(VIEWS.encode())], ids=["csv", "json", "gzip"])
def test_export_may_come_from_a_pipe(content: str | bytes, tmp_path: Path) -> None:
    file = written_export(tmp_path / "export", content)
    done = subprocess.run(
        ["/bin/bash", "-c", f"cat {file} | {sys.executable} -m foldlog import --site {SITE} - <(cat {file})"],
        env=environment(tmp_path / "data", disk_reserve=0),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "120 events appended" in done.stdout and done.stdout.count(": equal") == 2
    assert counted(tmp_path) == 60


def test_wrong_options_end_with_2(tmp_path: Path) -> None:
    environ = environment(tmp_path / "data", disk_reserve=0)
    file = str(written_export(tmp_path / "hits.csv", HITS))
    assert run_here(["import", "--tz", "Mars/Olympus", file], environ).returncode == 2
    done = run_here(["import", "--format", "goatcounter", file], environ)
    assert done.returncode == 2 and "--site example.com" in done.stderr
    for option in (["--source", "x"], ["--pages-only"], ["--not-found"], ["--forwarded"]):
        done = run_here(["import", *option, "--site", SITE, file], environ)
        assert done.returncode == 2 and "are for access logs" in done.stderr
    done = run_here(["import", "--format", "piwik", "--site", SITE, file], environ)
    assert done.returncode == 2 and "goatcounter, umami, matomo" in done.stderr
