"""`foldlog compress`: only folded segments, never the only copy, and the same files
after a second run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from compactor.compress import METHODS, Compressed, compress
from compactor.lock import CompactorBusy, compactor_lock
from foldlog.tail.follower import Follower, TailFilter
from ingest.collect.encode import encode_lines
from ingest.wal.active_segment import ActiveSegment
from shared.disk.layout import COMPRESSED_SUFFIXES, DataDirectory, SegmentName
from shared.segments.sealed import digest, sealed_segments
from shared.timestamps import now_ms
from tests.builders.archive import archived, assert_verified
from tests.builders.command import run_here
from tests.builders.compressed import PACKS
from tests.builders.logs import data_directory, fold, fold_all, line, sealed
from tests.builders.pages import fenced, page
from tests.builders.programs import program
from tests.builders.server import Server, environment
from tests.faults.crash import crashes, make_tree
from tests.faults.record import Recorder


def run_compress(data: DataDirectory, method: str = "zstd", older_than_s: float = 0, later_s: float = 60) -> Compressed:
    return compress(data, method, older_than_s, now_ms() + int(later_s * 1000), lambda _step: None)


def files(data: DataDirectory) -> list[str]:
    """Names of segments and checksums, without the time of the seal."""
    return sorted(
        re.sub(r"^\d{8}T\d{6}Z-", "", path.name) for path in data.log.iterdir() if not path.name.startswith("active")
    )


def folded_and_unfolded(tmp_path: Path) -> tuple[DataDirectory, list[SegmentName]]:
    """Two folded segments and one that is not."""
    data = data_directory(tmp_path)
    names = [sealed(data, [line(f"event-{number}{place}") for place in range(50)]) for number in range(2)]
    fold_all(data)
    names.append(sealed(data, [line("event-9")]))
    return data, names


@pytest.mark.parametrize(("method", "suffix"), METHODS.items())
def test_folded_segments_are_compressed_and_others_are_not(tmp_path: Path, method: str, suffix: str) -> None:
    data, names = folded_and_unfolded(tmp_path)
    active = ActiveSegment(data, "1", 1, "fsync")
    active.commit(encode_lines([line("event-open")]), 1)
    done = run_compress(data, method)
    assert (done.segments, done.left) == (2, {})
    assert 0 < done.bytes_after < done.bytes_before / 2
    assert [each.path.name for each in sealed_segments(data)] == [
        names[0].compressed(suffix), names[1].compressed(suffix), names[2].file,
    ]  # fmt: skip
    assert all(digest(each).intact for each in sealed_segments(data))
    assert active.is_ours()
    active.seal()
    fold_all(data)
    assert_verified(data)
    assert len(archived(data)) == 102
    assert len(Follower(data, TailFilter()).last(1_000)) == 102


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    data, _ = folded_and_unfolded(tmp_path)
    run_compress(data)
    before = {path: path.read_bytes() for path in data.log.iterdir()}
    assert run_compress(data, "gzip").segments == 0
    assert {path: path.read_bytes() for path in data.log.iterdir()} == before


def test_segments_sealed_lately_are_left(tmp_path: Path) -> None:
    data, names = folded_and_unfolded(tmp_path)
    older = names[0].sealed_at - timedelta(hours=2)
    for path in (data.log / names[0].file, data.log / names[0].checksum):
        path.rename(path.with_name(path.name.replace(names[0].stem, SegmentName("0", 1, older).stem)))
    assert run_compress(data, older_than_s=3600).segments == 1
    assert run_compress(data, older_than_s=3600, later_s=-7200).segments == 0, "of a clock that jumped nothing is old"
    assert run_compress(data, older_than_s=0).segments == 1


def test_damaged_segment_is_left_and_reported(tmp_path: Path) -> None:
    data, names = folded_and_unfolded(tmp_path)
    path = data.log / names[0].file
    content = path.read_bytes().replace(b"event-00", b"event-0x", 1)
    path.write_bytes(content)
    (data.log / names[1].checksum).unlink()
    done = run_compress(data)
    assert done.segments == 0
    assert done.left == {names[0].file: "differs from its .sha256", names[1].file: "has no .sha256 that can be read"}
    assert path.read_bytes() == content and not list(data.log.glob("*.zst")) and not list(data.log.glob(".*"))


@pytest.mark.crash
@pytest.mark.parametrize("method", METHODS)
def test_crash_at_any_point_loses_nothing_and_another_run_leaves_the_same(tmp_path: Path, method: str) -> None:
    data, names = folded_and_unfolded(tmp_path / "data")
    with Recorder(data.root) as recorder:
        run_compress(data, method)
    wanted = files(data)
    lines = [path.read_bytes() for path in sorted(data.log.iterdir())]
    tried = list(crashes(recorder, 3))
    assert len(tried) > 5
    for crash, tree in tried:
        again = DataDirectory(tmp_path / "again")
        shutil.rmtree(again.root, ignore_errors=True)
        make_tree(again.root, tree)
        assert all(digest(each).intact for each in sealed_segments(again)), crash
        assert len(sealed_segments(again)) == len(names)
        run_compress(again, method)
        assert files(again) == wanted
        assert [path.read_bytes() for path in sorted(again.log.iterdir())] == lines


@pytest.mark.parametrize("suffix", COMPRESSED_SUFFIXES)
def test_incomplete_file_of_another_program_is_replaced(tmp_path: Path, suffix: str) -> None:
    data, names = folded_and_unfolded(tmp_path)
    (data.log / names[0].compressed(suffix)).write_bytes(b"half")
    run_compress(data, "zstd")
    assert [path.name for path in sealed_segments(data)[0].copies] == [names[0].compressed(".zst")]
    assert_verified(data)


def test_pass_that_does_not_end_is_waited_for_and_then_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = folded_and_unfolded(tmp_path)
    monkeypatch.setattr("compactor.compress.LOCK_TIMEOUT_S", 0.2)
    with compactor_lock(data), pytest.raises(CompactorBusy):
        run_compress(data)
    assert not list(data.log.glob("*.zst"))


def test_command_prints_what_it_did(tmp_path: Path) -> None:
    data, names = folded_and_unfolded(tmp_path)
    environ = environment(data.root)
    nothing = run_here(["compress"], environ)
    assert (nothing.returncode, nothing.stdout) == (0, "compressed 0 segments\n")
    (data.log / names[0].checksum).unlink()
    done = run_here(["compress", "--method", "gzip", "--older-than", "0s"], environ)
    assert done.returncode == 0
    assert re.fullmatch(
        r"compressed 1 segments: \d+\.\d KiB became \d+(\.\d)? K?i?B\n"
        rf"not compressed: log/{names[0].file} has no .sha256 that can be read. To do: run `foldlog verify`.\n",
        done.stdout,
    )
    assert [each.suffix for each in sealed_segments(data)] == ["", ".gz", ""]
    assert run_here(["compress", "--older-than", "soon"], environ).returncode == 2


@pytest.mark.long
def test_service_continues_over_compressed_segments(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        for number in range(3):
            assert server.post([{"name": "pageview", "id": f"event-{number:03d}"}]).status == 200
            server.fold()
            assert run_here(["compress", "--older-than", "0s"], server.environ).returncode == 0
        assert server.get("/admin/api/report").json()["total"]["events"] == 3
        assert [each.suffix for each in sealed_segments(server.data)] == [".zst"] * 3


@pytest.mark.component
def test_segments_are_checked_by_hand_as_documented(tmp_path: Path) -> None:
    program("zstdcat")
    data, names = folded_and_unfolded(tmp_path / "data")
    run_compress(data, "zstd")
    by_gzip = sealed(data, [line("event-gz")])
    fold(data)
    (data.log / by_gzip.compressed(".gz")).write_bytes(PACKS["gzip"][1]((data.log / by_gzip.file).read_bytes()))
    (data.log / by_gzip.file).unlink()
    (script,) = [block for block in fenced(page("docs/formats.md"), "sh") if "zstdcat" in block]
    checked = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S607
    suffixes = [*((name.file, ".zst") for name in names[:2]), (names[2].file, ""), (by_gzip.file, ".gz")]
    assert sorted(checked.stdout.splitlines()) == sorted(f"data/log/{file}{suffix}: OK" for file, suffix in suffixes)
    sealed_segments(data)[0].path.write_bytes(PACKS["zstd"][1](b"something else\n"))
    checked = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S607
    assert checked.stdout.count("FAILED") == 1
