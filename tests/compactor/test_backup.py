"""Copies of a data directory under load: by `cp`, `rsync` and `tar` as docs/backup.md
says, and by `foldlog backup`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from compactor.backup import backup
from compactor.backup_checks import BackupRefused
from compactor.erasure.rewrite import erase_pending
from compactor.lock import compactor_lock
from compactor.repair.rebuild import rebuild
from compactor.repair.rotated_files import recover_rotated_files
from compactor.repair.verify import verify
from ingest.collect.encode import encode_lines
from ingest.wal.active_segment import ActiveSegment
from shared.disk.durable import hard_link
from shared.disk.layout import DataDirectory
from shared.erasures import create_request
from shared.generations.load import load_snapshot
from shared.generations.snapshot import decode_snapshot, encode_snapshot
from shared.named_filters import NamedFilter, put_named_filter, read_named_filters
from shared.segments.recovery import next_sequence
from shared.segments.sealed import active_segments, open_segment, sealed_segments
from shared.settings import load as load_settings
from shared.timestamps import now_ms
from tests.builders.archive import archived, assert_verified
from tests.builders.command import run_here
from tests.builders.logs import data_directory, fold, fold_all, line, sealed
from tests.builders.pages import fenced, page, section
from tests.builders.server import Server, environment
from tests.builders.silent_log import SilentLog
from tests.faults.oracle import id_of

DAY_MS = 86_400_000
POSTS_MAX = 4_000
# What docs/backup.md calls normal of each program.
NORMAL = {"cp": {0, 1}, "rsync": {0, 24}, "tar": {0, 1}}
MEMORY = Path("/dev/shm")  # noqa: S108


class Load:
    """A client that posts events with unique ids until it is stopped, and records those
    that were acknowledged.
    """

    def __init__(self, server: Server, history: set[str]) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.history, self.sent, self.acknowledged = frozenset(history), set(history), set(history)

    def _run(self) -> None:
        for number in range(POSTS_MAX):
            if self._stop.is_set():
                return
            ids = [f"load-{number:06d}-{event}" for event in range(3)]
            self.sent.update(ids)
            if self._server.post([{"name": "pageview", "id": id_} for id_ in ids]).status == 200:
                self.acknowledged.update(ids)
            time.sleep(0.01)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()


def history(data: DataDirectory) -> set[str]:
    """A day of long ago whose segments are deleted: only its parts have its events."""
    long_ago = now_ms() - 200 * DAY_MS
    ids = [f"history-{number}" for number in range(3)]
    for id_ in ids:
        sealed(data, [line(id_, long_ago, now_ms())], "import")
        fold(data, now_ms())
    for segment in sealed_segments(data):
        segment.path.unlink()
        segment.checksum.unlink()
    return set(ids)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Load]]:
    """A server under load that seals and folds every second."""
    place = tmp_path_factory.mktemp("busy")
    old = history(data_directory(place / "data"))
    with Server(place, segment_max_age=1, fold_interval=1) as server, Load(server, old) as load_:
        wait_for_passes(server.data, 4)
        yield server, load_


def wait_for_passes(data: DataDirectory, count: int) -> None:
    generation, deadline = load_snapshot(data).generation + count, time.monotonic() + 60
    while load_snapshot(data).generation < generation:
        assert time.monotonic() < deadline, "no passes"
        time.sleep(0.05)


def sealed_ids(data: DataDirectory) -> set[str]:
    found = set()
    for segment in sealed_segments(data):
        with open_segment(segment.path) as file:
            found |= {id_ for each in file if (id_ := id_of(each))}
    return found


def copying(program: str) -> str:
    """The command of docs/backup.md, for the directory above `data`."""
    block = fenced(section(page("docs/backup.md"), "A copy while it runs"), "sh")[0]
    (command,) = [each for each in block.splitlines() if each.startswith(f"{program} ")]
    return command


def copy(server: Server, program: str, place: Path, *, is_slow: bool) -> DataDirectory:
    """Copy the data directory of a server to `place`/data. With `is_slow` rsync takes
    so long that several passes end meanwhile.
    """
    if shutil.which(program) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{program} is not installed, and CI=true asks for every component")
        pytest.skip(f"{program} is not installed")
    above = server.data.root.parent
    command, _, clean_up = copying(program).partition("; ")
    if is_slow and program == "rsync":
        command = command.replace("rsync -a", "rsync -a --bwlimit=100")
    done = subprocess.run(command, shell=True, cwd=above, capture_output=True, text=True, check=False)  # noqa: S602
    assert done.returncode in NORMAL[program], done.stderr
    subprocess.run(clean_up, shell=True, cwd=above, check=True)  # noqa: S602
    place.mkdir()
    if program == "tar":
        subprocess.run(["tar", "-xf", above / "copy.tar", "-C", place], check=True)  # noqa: S607
        (above / "copy.tar").unlink()
    else:
        (above / "copy").rename(place / "data")
    restored = DataDirectory(place / "data")
    assert not restored.private.exists() and not restored.run.exists()
    return restored


def restore(data: DataDirectory) -> int:
    """Run `foldlog verify || foldlog rebuild`. Returns the first exit code of
    verify.
    """
    environ = environment(data.root)
    found = run_here(["verify"], environ).returncode
    if found:
        done = run_here(["rebuild"], environ)
        assert done.returncode == 0, done.stderr
        assert run_here(["verify"], environ).returncode == 0
    return found


def restore_quickly(data: DataDirectory) -> None:
    """The same in this process."""
    settings = load_settings(environment(data.root))
    if verify(data, settings, lambda _step: None).findings:
        rebuild(data, settings, SilentLog(), now_ms(), dry_run=False)
    fold_all(data, now_ms())


def counted(server: Server) -> list[str]:
    """The ids that a server has counted, with repeats."""
    server.fold()
    first = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 300 * 86_400))
    last = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400))
    answer = server.get("/admin/api/export", {}, **{"from": first, "to": last, "format": "ndjson"})
    assert answer.status == 200
    return [json.loads(each)["id"] for each in answer.body.splitlines()]


def assert_complete(found: list[str], needed: set[str], sent: set[str]) -> None:
    assert len(found) == len(set(found))
    assert needed - set(found) == set()
    assert set(found) - sent == set()


@pytest.mark.component
@pytest.mark.parametrize("program", NORMAL)
@pytest.mark.long
def test_copy_of_a_busy_directory_is_restored_with_all_that_was_sealed(
    busy: tuple[Server, Load], program: str, tmp_path: Path
) -> None:
    server, load_ = busy
    for attempt in range(2):
        needed = sealed_ids(server.data) | load_.history
        data = copy(server, program, tmp_path / str(attempt), is_slow=attempt > 0)
        sent = set(load_.sent)
        assert len(needed) > 20
        if attempt:
            restore_quickly(data)
            assert_verified(data)
            assert_complete([row[0] for row in archived(data)], needed, sent)
            continue
        restore(data)
        with Server(tmp_path / str(attempt)) as restored:  # verified when it ends
            assert_complete(counted(restored), needed, sent)
            assert restored.post([{"name": "pageview", "id": "after-the-restore"}]).status == 200
            assert "after-the-restore" in counted(restored)


# foldlog backup


def run_backup(data: DataDirectory, destination: Path) -> subprocess.CompletedProcess[str]:
    return run_here(["backup", str(destination)], environment(data.root))


@pytest.mark.long
def test_backup_of_a_busy_directory_holds_every_acknowledged_event_and_needs_no_rebuild(
    busy: tuple[Server, Load], tmp_path: Path
) -> None:
    server, load_ = busy
    for attempt in range(3):
        needed = set(load_.acknowledged)
        place = tmp_path / str(attempt)
        place.mkdir()
        done = run_backup(server.data, place / "data")
        assert done.returncode == 0, done.stderr
        sent = set(load_.sent)
        data = DataDirectory(place / "data")
        assert f"generation {load_snapshot(data).generation}" in done.stdout
        assert f"FOLDLOG_DATA_DIR={data.root} foldlog verify" in done.stdout
        assert not active_segments(data) and not data.private.exists() and not data.run.exists()
        if attempt:
            assert_verified(data)
            fold_all(data, now_ms())
            assert_complete([row[0] for row in archived(data)], needed, sent)
            continue
        before = tree(data)
        wait_for_passes(server.data, 2)
        assert tree(data) == before
        assert run_here(["verify"], environment(data.root)).returncode == 0
        with Server(place) as restored:
            assert_complete(counted(restored), needed, sent)
    assert server.get("/readyz").status == 200


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    """No process runs here. Six passes, an unfolded segment, an active one whose writer
    died, and a file in quarantine.
    """
    data = data_directory(tmp_path_factory.mktemp("template") / "data")
    for number in range(6):
        sealed(data, [line(f"event-{number}")])
        fold(data)
    sealed(data, [line("event-6")])
    orphan = ActiveSegment(data, "1", 1, "fsync")
    orphan.commit(encode_lines([line("event-7")]), 1)
    orphan.close()
    (data.quarantine / "recovered-1-0123456789abcdef.ndjson").write_text("{}\n")
    (data.private / "tokens.json").write_text("[]")
    return data


@pytest.fixture
def data(template: DataDirectory, tmp_path: Path) -> DataDirectory:
    return DataDirectory(Path(shutil.copytree(template.root, tmp_path / "data")))


EVENTS = {f"event-{number}" for number in range(8)}


def tree(data: DataDirectory) -> dict[str, tuple[bytes, int, int]]:
    """Content, mode and modification time of every file but the locks."""
    files = (path for path in data.root.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {
        str(path.relative_to(data.root)): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in files
    }


def made(data: DataDirectory, destination: Path) -> DataDirectory:
    backup(data, destination, SilentLog())
    return DataDirectory(destination)


def test_backup_is_the_same_files_without_what_is_private_or_open(data: DataDirectory, tmp_path: Path) -> None:
    found = made(data, tmp_path / "backup")
    there = {str(path.relative_to(found.root)) for path in found.root.rglob("*") if path.is_file()}
    here = {str(path.relative_to(data.root)) for path in data.root.rglob("*") if path.is_file()}
    missing = {"compact.lock", "private/tokens.json"} | {name for name in here if name.startswith("run/")}
    parts_of_no_snapshot = {name for name in here - there if name.startswith("counters/")}
    assert here - there - missing == parts_of_no_snapshot
    assert all((found.root / name).samefile(data.root / name) for name in there)
    assert {path.name for path in found.root.glob("snapshot*.json")} == {
        path.name for path in data.root.glob("snapshot*.json")
    }
    assert_verified(found)
    fold_all(found, now_ms())
    assert {row[0] for row in archived(found)} == EVENTS
    assert load_snapshot(data).totals.counted == 6  # folding the backup does not change the original


def test_backup_has_the_goals_of_its_time(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line("event-1")])
    put_named_filter(data, NamedFilter("goal", "a", "path==/"))
    found = made(data, tmp_path / "backup")
    put_named_filter(data, NamedFilter("goal", "a", "path==/changed"))
    assert read_named_filters(found).entries == (NamedFilter("goal", "a", "path==/"),)
    data.goals.unlink()
    data.goals.mkdir()
    assert not made(data, tmp_path / "another").goals.exists()


def test_backup_of_a_directory_that_was_never_folded_is_its_log(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    sealed(data, [line("event-1")])
    found = made(data, tmp_path / "backup")
    fold_all(found)
    assert [row[0] for row in archived(found)] == ["event-1"]


def test_backup_takes_kept_snapshots_whose_parts_are_all_there(data: DataDirectory, tmp_path: Path) -> None:
    """A kept snapshot with a missing part could not replace a damaged one."""
    kept = data.kept_snapshot(4)
    snapshot = decode_snapshot(kept.read_bytes(), kept)
    ((day, of_day),) = snapshot.days.items()
    lost = msgspec.structs.replace(of_day.counters[0], generation=99)
    without = msgspec.structs.replace(of_day, counters=(lost,))
    kept.write_bytes(encode_snapshot(msgspec.structs.replace(snapshot, days={day: without})))
    found = made(data, tmp_path / "backup")
    assert sorted(path.name for path in found.root.glob("snapshot*.json")) == [
        "snapshot.3.json",
        "snapshot.5.json",
        "snapshot.json",
    ]


REFUSALS = {
    "exists": ("other", "exists"),
    "inside": ("data/backup", "inside_data"),
    "inside, through a link": ("link/backup", "inside_data"),
    "without a parent": ("no/where", "no_parent"),
}


@pytest.mark.parametrize(("name", "code"), REFUSALS.values(), ids=REFUSALS)
def test_backup_is_refused_where_it_cannot_be_made(data: DataDirectory, tmp_path: Path, name: str, code: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(data.root)
    before = tree(data)
    with pytest.raises(BackupRefused) as refused:
        backup(data, tmp_path / name, SilentLog())
    assert refused.value.code == code
    assert tree(data) == before


@pytest.mark.parametrize(
    ("damaged", "code", "command"),
    [("snapshot", "snapshot_damaged", "foldlog compact --once"), ("part", "part_missing", "foldlog rebuild")],
)
def test_backup_of_a_damaged_directory_is_refused(
    data: DataDirectory, tmp_path: Path, damaged: str, code: str, command: str
) -> None:
    path = data.snapshot if damaged == "snapshot" else max(data.counters.glob("*/*"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BackupRefused, match=command) as refused:
        backup(data, tmp_path / "backup", SilentLog())
    assert (refused.value.code, refused.value.path) == (code, path)
    assert not list(tmp_path.glob("backup*"))


def test_backup_on_another_file_system_says_what_to_type(data: DataDirectory, tmp_path: Path) -> None:
    destination = MEMORY / f"foldlog-backup-{os.getpid()}"
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system")
    before = tree(data)
    done = run_backup(data, destination)
    assert done.returncode == 2
    beside = data.root.with_name(destination.name)
    assert f"foldlog backup {beside} && rsync -a {beside}/ {destination}/" in done.stderr
    assert not list(MEMORY.glob(f"{destination.name}*"))
    assert tree(data) == before


# Kills itself at the n-th of these calls.
KILLED = """
import os, signal, sys
from pathlib import Path
calls = 0
def watch(event, arguments):
    global calls
    if event in ("os.link", "os.rename", "os.mkdir") and ".partial" in str(arguments):
        calls += 1
        if calls == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
from compactor.backup import backup
from shared.disk.layout import DataDirectory
from tests.builders.silent_log import SilentLog
sys.addaudithook(watch)
backup(DataDirectory(Path(sys.argv[1])), Path(sys.argv[2]), SilentLog())
print(calls)
"""


def kill_backup(data: DataDirectory, destination: Path, call: int) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", KILLED, str(data.root), str(destination), str(call)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.long
@pytest.mark.crash
def test_killed_backup_leaves_the_original_unchanged_and_is_replaced_by_the_next(
    data: DataDirectory, tmp_path: Path
) -> None:
    done = kill_backup(data, tmp_path / "first", 0)
    calls = int(done.stdout)
    assert calls > 20
    before = tree(data)
    for call in (1, 2, calls // 2, calls - 1, calls):
        done = kill_backup(data, tmp_path / "backup", call)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert tree(data) == before
        assert not (tmp_path / "backup").exists()
        assert (tmp_path / "backup.partial").exists() == (call > 1)
    assert_verified(data)
    done = run_backup(data, tmp_path / "another")
    assert f"rm -r {tmp_path / 'backup.partial'}" in done.stdout
    found = made(data, tmp_path / "backup")
    assert not (tmp_path / "backup.partial").exists()
    assert_verified(found)


def test_foreign_files_in_the_way_are_left(data: DataDirectory, tmp_path: Path) -> None:
    mine = tmp_path / "backup.partial" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    with pytest.raises(BackupRefused) as refused:
        backup(data, tmp_path / "backup", SilentLog())
    assert (refused.value.code, refused.value.path) == ("leftover_in_the_way", mine.parent)
    assert mine.read_text() == "years of work"


@pytest.mark.parametrize("name", ["active-0.ndjson.1", "active-0-20261127.ndjson"])
def test_backup_holds_the_rotated_file_of_a_killed_writer(data: DataDirectory, tmp_path: Path, name: str) -> None:
    """logrotate renamed its segment, and it was killed before it noticed: no other file
    has its acknowledged events.
    """
    killed = ActiveSegment(data, "0", next_sequence(data, "0"), "fsync")
    killed.commit(encode_lines([line("acknowledged-1")]), 1)
    killed.path.rename(data.log / name)
    killed.close()
    (data.log / "active-0.ndjson.9").mkdir()
    (data.log / "active-0.ndjson.8").symlink_to(tmp_path)

    found = made(data, tmp_path / "backup")

    assert (found.log / name).samefile(data.log / name)
    assert_verified(found)
    with compactor_lock(found):
        recover_rotated_files(found, SilentLog(), now_ms(), quiet_s=0)
    fold_all(found, now_ms())
    assert {row[0] for row in archived(found)} == {*EVENTS, "acknowledged-1"}


def test_rotated_file_that_is_renamed_while_it_is_linked_is_found_again(
    data: DataDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data.log / "active-0.ndjson.1").write_bytes(encode_lines([line("acknowledged-1")]))

    def renamed_first(source: Path, target: Path) -> None:
        if source.name == "active-0.ndjson.1":
            source.rename(data.log / "active-0.ndjson.2")
        hard_link(source, target)

    monkeypatch.setattr("compactor.backup.hard_link", renamed_first)
    assert [path.name for path in made(data, tmp_path / "backup").log.glob("active*")] == ["active-0.ndjson.2"]


def test_backup_of_an_older_snapshot_beside_later_parts_is_refused(data: DataDirectory, tmp_path: Path) -> None:
    """As in a copy whose snapshot was copied first: the backup would lack events that
    only those parts have.
    """
    older = data.kept_snapshot(3).read_bytes()
    for path in data.root.glob("snapshot.*.json"):
        path.unlink()
    data.snapshot.write_bytes(older)
    with pytest.raises(BackupRefused, match="foldlog rebuild") as refused:
        backup(data, tmp_path / "backup", SilentLog())
    assert refused.value.code == "later_part"
    rebuild(data, load_settings(environment(data.root)), SilentLog(), now_ms(), dry_run=False)
    found = made(data, tmp_path / "backup")
    fold_all(found, now_ms())
    assert {row[0] for row in archived(found)} == EVENTS


@pytest.mark.long
def test_backup_is_refused_during_an_erasure(
    data: DataDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log would hold a visitor whom its snapshot counts as erased. A request that
    has not started does not stop a backup.
    """
    fold_all(data, now_ms())
    asked = create_request(data, "visitor-1", None)
    made(data, tmp_path / "before")
    with monkeypatch.context() as patch, compactor_lock(data) as lock, pytest.raises(OSError, match="full"):
        patch.setattr("compactor.erasure.rewrite._rewrite_segment", no_room)
        erase_pending(data, load_settings(environment(data.root)), SilentLog(), lock, now_ms())
    with pytest.raises(BackupRefused, match=r"foldlog status.*erasures_pending") as refused:
        backup(data, tmp_path / "backup", SilentLog())
    assert refused.value.code == "erasing"
    with compactor_lock(data) as lock:
        erase_pending(data, load_settings(environment(data.root)), SilentLog(), lock, now_ms())
    assert not data.erasure_request(asked.request).exists()
    assert_verified(made(data, tmp_path / "backup"))


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "the disk is full")
