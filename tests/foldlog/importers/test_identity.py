"""P7 for imports: each request counts once, whatever its file is called, compressed
with, joined by, or imported after.
"""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from foldlog.importers.occurrences import WINDOW, Occurrences
from foldlog.importers.sources import Sources
from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError
from tests.builders.access_logs import combined, counted, events_of, import_logs, written
from tests.builders.logs import data_directory

COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip in two members": lambda text: gzip.compress(text[:100]) + gzip.compress(text[100:]),
    "gzip with padding": lambda text: gzip.compress(text) + bytes(512),
    "zstd": zstandard.compress,
    "zstd in two frames": lambda text: zstandard.compress(text[:100]) + zstandard.compress(text[100:]),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


def requests(address: str, *minutes: int) -> list[str]:
    return [combined(address, f"GET /{each} HTTP/1.1", time=f"22/Nov/2026:09:{each:02}:00 +0000") for each in minutes]


def test_same_request_of_several_clients_counts_for_each(tmp_path: Path) -> None:
    one = written(tmp_path / "one.log", [combined(f"198.51.100.{n}") for n in (1, 2)])
    two = written(tmp_path / "two.log", [combined(f"198.51.100.{n}") for n in (3, 4)])
    import_logs(tmp_path, one)
    import_logs(tmp_path, two)
    assert counted(tmp_path) == 4
    assert len({event["visitor"] for event in events_of(tmp_path)}) == 4
    for files in ((two, one), (one, two), (one,)):
        import_logs(tmp_path, *files)
    assert counted(tmp_path) == 4


def test_line_of_one_request_each_at_two_front_ends(tmp_path: Path) -> None:
    for name, address in (("one.log", "198.51.100.1"), ("two.log", "198.51.100.2")):
        import_logs(tmp_path, written(tmp_path / name, [combined(address)]))
    assert counted(tmp_path) == 2


@pytest.mark.parametrize("compress", COMPRESSED.values(), ids=COMPRESSED)
def test_compression_by_content_is_no_difference(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    plain = written(tmp_path / "access.log", requests("198.51.100.1", *range(20)))
    other = tmp_path / "access.log.1"
    other.write_bytes(compress(plain.read_bytes()))
    for file in (plain, other):
        done = import_logs(tmp_path, file)
        assert (done.lines, done.events, done.unfinished) == (20, 20, 0)
    assert counted(tmp_path) == 20


def test_two_front_ends_rotated_compressed_and_again_in_every_order(tmp_path: Path) -> None:
    """Three pieces each; between imports the newest grows, and all move on by one."""
    pieces: dict[str, list[str]] = {}
    for host, address in (("a", "198.51.100.1"), ("b", "198.51.100.2")):
        lines = [line for minute in range(24) for line in requests(address, minute, minute)]
        pieces |= {f"{host}{n}": lines[16 * n : 16 * (n + 1)] for n in range(3)}
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("a0", "b0"):
        import_logs(tmp_path, written(folder / name, pieces[name][:5]))
    written(folder / "a0", pieces["a0"])
    written(folder / "b0", pieces["b0"])
    for name in ("a0", "b0"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
    for name in ("a1", "a2", "b1", "b2"):
        written(folder / name, pieces[name])
    files = ["a0.gz", "b0", "a1", "b1", "a2", "b2"]
    for order in list(itertools.permutations(files))[::97]:
        import_logs(tmp_path, *[folder / name for name in order])
    assert counted(tmp_path) == 2 * 48


def test_longer_version_counts_what_is_new(tmp_path: Path) -> None:
    lines = [line for minute in range(20) for line in requests("198.51.100.1", minute, minute)]
    for length in (1, 2, 3, 7, 8, 20, 40, 13):
        import_logs(tmp_path, written(tmp_path / "access.log", lines[:length]))
    assert counted(tmp_path) == 40


def test_last_line_without_its_newline_waits(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    whole = combined("198.51.100.1") + "\n" + combined("198.51.100.2") + "\n"
    file.write_text(whole[: whole.rindex("0 5120") + 1])
    done = import_logs(tmp_path, file)
    assert (done.lines, done.events, done.unfinished) == (1, 1, 1)
    file.write_text(whole)
    assert import_logs(tmp_path, file).events == 2
    assert counted(tmp_path) == 2


def test_operator_may_say_which_log_it_is(tmp_path: Path) -> None:
    lines = requests("198.51.100.1", *range(6))
    import_logs(tmp_path, written(tmp_path / "all.log", lines), source="web1")
    import_logs(tmp_path, written(tmp_path / "end.log", lines[3:]), source="web1")
    assert counted(tmp_path) == 6
    import_logs(tmp_path, written(tmp_path / "end.log", lines[3:]), source="web2")
    assert counted(tmp_path) == 9


def test_concatenation_is_the_log_that_it_begins_as(tmp_path: Path) -> None:
    """As docs/import.md says: what follows in it is not recognised."""
    one = written(tmp_path / "one.log", requests("198.51.100.1", 1, 2))
    two = written(tmp_path / "two.log", requests("198.51.100.2", 3, 4))
    import_logs(tmp_path, one, two)
    both = tmp_path / "both.log"
    both.write_text(one.read_text() + two.read_text())
    import_logs(tmp_path, both)
    assert counted(tmp_path) == 6


def test_header_of_a_file_is_not_what_it_begins_with(tmp_path: Path) -> None:
    header = "#Version: 1.0\n#Fields: date time c-ip cs-method cs-uri-stem sc-status"
    for name, address in (("one.log", "198.51.100.1"), ("two.log", "198.51.100.2")):
        import_logs(tmp_path, written(tmp_path / name, [header, f"2026-11-22 09:00:00 {address} GET /a 200"]))
    assert counted(tmp_path) == 2


def test_no_address_is_kept_and_no_id_can_be_found_by_trying(tmp_path: Path) -> None:
    address = "192.0.2.77"
    lines = {
        "tag": f"nginx[812]: {combined(address)}",
        "bracket": combined(address).replace("- -", f"- bob [{address}]"),
        "list": f'{combined(address)} "{address}, 10.0.0.1"',
    }
    for name, text in lines.items():
        import_logs(tmp_path, written(tmp_path / f"{name}.log", [text]), source=f"{name}")
        same = text.replace(address, "192.0.2.78")
        import_logs(tmp_path, written(tmp_path / "same.log", [same]), source=f"{name}")
    assert counted(tmp_path) == 3, "the address makes no difference to the id"
    data = DataDirectory(tmp_path / "data")
    kept = b"".join(path.read_bytes() for path in data.root.rglob("*") if path.is_file())
    assert address.encode() not in kept


def test_source_that_begins_as_another_and_goes_on_differently_is_another(tmp_path: Path) -> None:
    sources = Sources(data_directory(tmp_path / "data"))
    first = sources.name_of(["a", "b", "c", "d"])
    assert sources.name_of(["a", "b", "x", "d"]) != first
    assert sources.name_of(["a", "b", "c"]) == first
    assert sources.name_of(["a", "b", "c", "d", "e"]) == first
    assert sources.name_of(["a", "b", "c", "d", "f"]) != first
    assert sources.name_of(["z"]) != first


def test_occurrences_are_numbered_alike_however_the_blocks_fall() -> None:
    events = [f"{n // 3:032}x".encode() for n in range(3 * WINDOW)]
    made = []
    for size in (len(events), 1000, 70_001):
        occurrences = Occurrences()
        parts = [occurrences.number(events[at : at + size]) for at in range(0, len(events), size)]
        made.append(list(itertools.chain(*parts)))
        assert len(occurrences._recent) <= WINDOW
        assert len(occurrences._before) <= WINDOW
    assert made[0] == made[1] == made[2]
    assert len(set(made[0])) == len(events)


def test_damaged_list_of_logs_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    data.import_sources.write_text("{")
    with pytest.raises(UsageError, match=r"import-sources\.json is damaged"):
        Sources(data)
