"""The worst files that another tool's export may be: each ends with a sentence that
names the file, takes memory and time for its bytes, and costs no row before it.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from foldlog.importers.exports.archive import Archive
from foldlog.importers.exports.limits import DIRECTORY_MAX_BYTES, RECORD_MAX_BYTES, VISIT_MAX_BYTES, BrokenExport
from foldlog.importers.import_log import DamagedInput
from foldlog.importers.outcome import BEFORE_1970, BEYOND_TOMORROW, NOT_UNDERSTOOD, NOT_UTF8
from shared.settings import SettingsError
from tests.builders.access_logs import SITE, counted, events_of
from tests.builders.command import run_here
from tests.builders.exports import (
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
from tests.builders.server import environment

MIB = 1 << 20
HITS = table(GOATCOUNTER_2, [hit(f"/{n}", second=n) for n in range(50)])
VIEWS = table(UMAMI, [view(n) for n in range(50)])
MEMBER = "website_event.csv"


def test_archive_that_inflates_is_refused_and_uses_little_memory(tmp_path: Path) -> None:
    row = "x" * 8_000 + "\n"
    bomb = VIEWS + row * (66 * MIB // len(row))
    file = written_zip(tmp_path / "bomb.zip", {MEMBER: bomb})
    packed = written_export(tmp_path / "bomb.csv.gz", gzip.compress(bomb.encode()))
    del bomb
    assert file.stat().st_size < MIB
    with pytest.raises(BrokenExport, match=r"bomb\.csv\.gz inflates to more than 200 times its size"):
        import_exports(tmp_path, packed)
    tracemalloc.start()
    try:
        with pytest.raises(BrokenExport, match=r"bomb\.zip: .* inflates to more than 200 times its size"):
            import_exports(tmp_path, file)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()
    assert counted(tmp_path) == 50


def overlapping(members: int) -> bytes:
    """A zip whose members all are the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.csv", VIEWS)
        first = archive.infolist()[0]
        for number in range(1, members):
            each = zipfile.ZipInfo(f"{number}.csv")
            for name in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(each, name, getattr(first, name))
            archive.filelist.append(each)
            archive.NameToInfo[each.filename] = each
        archive._didModify = True  # type: ignore[attr-defined]
    return content.getvalue()


def encrypted() -> bytes:
    content = bytearray(written_bytes({MEMBER: VIEWS}))
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(sign) + at] |= 1
    return bytes(content)


def written_bytes(members: dict[str, str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def long_directory(*, lies: bool) -> bytes:
    """A zip with a list of members of more than a MiB, or one that says so."""
    if not lies:
        return written_bytes({f"{n:0200d}.csv": "" for n in range(6_000)}, zipfile.ZIP_STORED)
    content = bytearray(written_bytes({MEMBER: VIEWS * 200}, zipfile.ZIP_STORED))
    end = content.rindex(b"PK\x05\x06")
    struct.pack_into("<LL", content, end + 12, 4 * DIRECTORY_MAX_BYTES, 0)
    return bytes(content) if len(content) > 4 * DIRECTORY_MAX_BYTES else bytes(4 * DIRECTORY_MAX_BYTES) + bytes(content)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "encrypted": (encrypted, "is encrypted"),
    "bzip2 inside": (lambda: written_bytes({MEMBER: VIEWS}, zipfile.ZIP_BZIP2), "unusual way"),
    "lzma inside": (lambda: written_bytes({MEMBER: VIEWS}, zipfile.ZIP_LZMA), "unusual way"),
    "members that are one": (lambda: overlapping(200), "share their bytes"),
    "thousands of members": (lambda: written_bytes({f"{n}.csv": "" for n in range(1_500)}), "has 1,500 files"),
    "endless list of members": (lambda: long_directory(lies=False), "the list of its files is longer"),
    "the same file twice": (lambda: written_bytes({MEMBER: VIEWS, f"../{MEMBER}": VIEWS}), "two files"),
    "nothing known": (lambda: written_bytes({"a.txt": "", "b.txt": ""}), "not a known export"),
    "empty": (lambda: written_bytes({}), "not a known export"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_archive_is_refused_with_its_name(content: Callable[[], bytes], message: str, tmp_path: Path) -> None:
    file = written_export(tmp_path / "odd.zip", content())
    with pytest.raises(BrokenExport, match=rf"odd\.zip.*{message}|{message}.*odd\.zip|{message} in .*odd\.zip"):
        import_exports(tmp_path, file)
    assert not (tmp_path / "data" / "log").exists() or events_of(tmp_path) == []


def test_list_of_members_that_lies_about_its_length_is_not_read(tmp_path: Path) -> None:
    file = written_export(tmp_path / "odd.zip", b"PK\x03\x04" + long_directory(lies=True))
    with pytest.raises((BrokenExport, DamagedInput), match=r"odd\.zip"):
        import_exports(tmp_path, file)


def test_names_in_an_archive_name_no_file(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    members = {f"../../{MEMBER}": VIEWS, "/etc/passwd": "x", "..\\x\x1b[2J.csv": "x", "dir/": ""}
    file = written_zip(inside / "paths.zip", members)
    assert import_exports(inside, file).events == 50
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in"]
    assert sorted(each.name for each in inside.iterdir()) == ["data", "paths.zip"]


@pytest.mark.parametrize("cut", [30, 500, -60, -10])
def test_damaged_archive_ends_with_75_and_what_could_be_read_counts_once(cut: int, tmp_path: Path) -> None:
    whole = written_bytes({MEMBER: VIEWS})
    flipped = bytearray(whole)
    flipped[cut] ^= 0x55
    written_export(tmp_path / "e.zip", bytes(flipped))
    environ = environment(tmp_path / "data", disk_reserve=0)
    done = run_here(["import", "--site", SITE, str(tmp_path / "e.zip")], environ)
    assert done.returncode in (0, 2, 75), done.stderr
    assert "Traceback" not in done.stderr
    written_export(tmp_path / "e.zip", whole)
    assert run_here(["import", "--site", SITE, str(tmp_path / "e.zip")], environ).returncode == 0
    assert counted(tmp_path) == 50


ROW = table(GOATCOUNTER_2, [hit("/after", 2, 100)]).splitlines()[1]
ENDLESS = {
    "megabyte in a field": f'"{"x" * (RECORD_MAX_BYTES + 9)}"\n{ROW}\n',
    "line without an end": "x" * (3 * RECORD_MAX_BYTES),
    "quote that never ends": '"' + f"{ROW}\n".replace('"', "") * 10_000,
    "many fields of many lines": ",".join(['"a\nb"'] * (RECORD_MAX_BYTES // 4)) + "\n",
}


@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS)
def test_row_that_does_not_end_ends_the_file_and_is_named(text: str, tmp_path: Path) -> None:
    file = written_export(tmp_path / "hits.csv", HITS + text)
    tracemalloc.start()
    try:
        with pytest.raises(BrokenExport, match=r"hits\.csv line 52: .*import it again: each row counts once"):
            import_exports(tmp_path, file)
        assert tracemalloc.get_traced_memory()[1] < 24 * MIB
    finally:
        tracemalloc.stop()
    assert counted(tmp_path) == 50
    written_export(file, HITS + ROW)
    import_exports(tmp_path, file)
    assert counted(tmp_path) == 51


def test_quote_that_is_closed_elsewhere_costs_its_row(tmp_path: Path) -> None:
    file = written_export(tmp_path / "hits.csv", HITS + f'"{ROW}\n{ROW}\n')
    done = import_exports(tmp_path, file)
    assert (done.events, done.reasons[NOT_UNDERSTOOD].lines, done.reasons[NOT_UNDERSTOOD].first) == (51, 1, 52)


def test_encodings_and_marks(tmp_path: Path) -> None:
    with pytest.raises(BrokenExport, match=r"wide\.csv is in UTF-16"):
        import_exports(tmp_path, written_export(tmp_path / "wide.csv", HITS.encode("utf-16")), format_="goatcounter")
    latin = (HITS + table(GOATCOUNTER_2, [hit("/café", second=99)]).partition("\n")[2]).encode("latin-1")
    done = import_exports(tmp_path, written_export(tmp_path / "latin.csv", b"\xef\xbb\xbf" + latin))
    assert (done.events, done.reasons[NOT_UTF8].first, done.reasons[NOT_UTF8].line) == (50, 52, "/caf?")
    assert import_exports(tmp_path, written_export(tmp_path / "dos.csv", HITS.replace("\n", "\r\n"))).events == 50
    assert counted(tmp_path) == 50


ODD = {
    "0001-01-01T00:00:00+14:00": BEFORE_1970,
    "1969-12-31T23:59:59Z": BEFORE_1970,
    "9999-12-31T23:59:59-23:59": BEYOND_TOMORROW,
    "2026-02-30T00:00:00Z": NOT_UNDERSTOOD,
    "2026-03-01T24:00:01Z": NOT_UNDERSTOOD,
    "2026-W10-1T00:00:00Z": NOT_UNDERSTOOD,
    "٢٠٢٦-03-01T00:00:00Z": NOT_UNDERSTOOD,
    "": NOT_UNDERSTOOD,
}


def test_dates_out_of_range_are_counted_by_reason(tmp_path: Path) -> None:
    text = table(GOATCOUNTER_2, [hit(Date=date) for date in ODD])
    done = import_exports(tmp_path, written_export(tmp_path / "hits.csv", text))
    assert done.events == 0
    assert {why: done.reasons[why].lines for why in done.reasons} == {
        why: list(ODD.values()).count(why) for why in set(ODD.values())
    }


def test_huge_numbers_and_deep_objects(tmp_path: Path) -> None:
    odd = [
        action(n, "event", eventAction="e", eventValue=each) for n, each in enumerate(["1e400", "9" * 40, "x", "NaN"])
    ]
    text = json.dumps([visit(1, odd), visit(2, [action(9)])])
    deep = f'[{{"idVisit":1,"actionDetails":[],"x":{"[" * 100_000}{"]" * 100_000}}},'
    numbers = f'{{"idVisit":{"9" * 5_000},"actionDetails":[{{"type":"action","timestamp":1e999}}]}},'
    for beginning in (deep, f"[{numbers}"):
        done = import_exports(tmp_path, written_export(tmp_path / "visits.json", beginning + text[1:]))
        assert (done.events, done.reasons[NOT_UNDERSTOOD].lines) == (1, 5)


def test_visit_that_does_not_end_is_named(tmp_path: Path) -> None:
    good = json.dumps([visit(1, [action(1)])])[:-1]
    for rest in (',\n{"a":"' + "x" * VISIT_MAX_BYTES, ',\n{"a":' + "{" * 100, ",\n nonsense"):
        file = written_export(tmp_path / "visits.json", good + rest)
        with pytest.raises(BrokenExport, match=r"visits\.json line 2: .*each visit counts once"):
            import_exports(tmp_path, file)
        assert counted(tmp_path) == 1


def test_texts_of_visitors_stay_texts(tmp_path: Path) -> None:
    names = ["=1+1", "@SUM(A1)", "\u202eevil", "a\nb", "x" * 121, "\x1b[2J", "'; DROP TABLE x"]
    rows = [hit(name, second=n, Event="true") for n, name in enumerate(names)]
    rows.append(hit("/a\x1b[2J\0b c", Title="\x1b]0;x\x07\0" + "t" * 5_000, second=90))
    done = import_exports(tmp_path, written_export(tmp_path / "hits.csv", table(GOATCOUNTER_2, rows)))
    events = events_of(tmp_path)
    assert [event["name"] for event in events[:3]] == ["=1+1", "@SUM(A1)", "'; DROP TABLE x"]
    assert events[3]["url"] == "https://example.com/a%1B[2J%00b%20c"
    assert len(events[3]["props"]["title"]) <= 500 and "\0" not in events[3]["props"]["title"]
    assert done.reasons[NOT_UNDERSTOOD].lines == 4
    assert "\x1b" not in done.reasons[NOT_UNDERSTOOD].line


def test_cost_of_objects_is_that_of_their_bytes(tmp_path: Path) -> None:
    seconds = {}
    kinds = {"text": '"' + "x" * MIB + '"', "braces": '"' + "{" * MIB + '"', "quotes": '"' + r"\"" * (MIB // 2) + '"'}
    for name, text in kinds.items():
        content = f'[{{"idVisit":1,"actionDetails":[],"x":{text}}}]'
        begun = time.process_time()
        import_exports(tmp_path, written_export(tmp_path / "visits.json", content), dry_run=True)
        seconds[name] = time.process_time() - begun
    assert max(seconds.values()) < 100 * seconds["text"] + 3


def test_zip_cannot_come_from_a_pipe() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(BrokenExport, match="cannot be read from a pipe"):
        Archive(Pipe(written_bytes(PLAUSIBLE)), "standard input")


def test_site_is_asked_for_before_anything_is_appended(tmp_path: Path) -> None:
    file = written_export(tmp_path / "events.csv", table([each for each in UMAMI if each != "hostname"], [view(1)]))
    with pytest.raises(SettingsError, match=r"events\.csv does not say its site"):
        import_exports(tmp_path, file, site=None)
