"""Only the owner of a data directory can take its locks, whatever the umask was and
whatever an earlier release left.
"""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import Timeout

from compactor.lock import CompactorBusy, compactor_lock
from compactor.publishing.instance import publishing_lock
from foldlog.supervisor.serve import serve_lock
from ingest.collect.daily_salt import day_at, salt_of_day
from ingest.wal.active_segment import ActiveSegment
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.disk.locks import owner_lock
from shared.settings import Settings
from shared.timestamps import now_ms
from shared.tokens import changing_tokens

MEMBER = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")


@pytest.fixture(params=[0o000, 0o077], ids=["open umask", "closed umask"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def take_all(data: DataDirectory) -> dict[str, Path]:
    """Every lock file that there is, as the code that takes it makes it."""
    with compactor_lock(data), serve_lock(data), changing_tokens(data), publishing_lock(data, "store"):
        salt_of_day(data, day_at(Settings().zone, now_ms()))
    return {path.name: path for path in data.root.rglob("*.lock")}


def test_lock_files_are_the_owners_only_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    data = DataDirectory(tmp_path / "data")
    make_data_directory(data)
    made = take_all(data)
    assert set(made) == {"compact.lock", "serve.lock", "tokens.lock", "salt.lock", "store.lock"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.values()} == {0o600}
    for path in made.values():
        path.chmod(0o644)
    data.private.chmod(0o755)
    again = take_all(data)
    assert {stat.S_IMODE(path.stat().st_mode) for path in again.values()} == {0o600}, "those of an earlier release, too"
    assert stat.S_IMODE(data.private.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o000, 0o200, 0o666])
def test_lock_file_of_any_mode_can_be_taken(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "some.lock"
    path.touch()
    path.chmod(mode)
    with owner_lock(path, 0):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_mode_is_changed_through_a_link(tmp_path: Path) -> None:
    """Or a command of root would change it elsewhere."""
    target, link = tmp_path / "target", tmp_path / "some.lock"
    target.touch()
    target.chmod(0o644)
    link.symlink_to(target)
    with pytest.raises(OSError, match="symbolic"):
        owner_lock(link, 0).acquire()
    link.unlink()
    os.link(target, link)
    with owner_lock(link, 0):
        assert stat.S_IMODE(target.stat().st_mode) == 0o644


def test_lock_on_the_data_directory_stops_nothing(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    make_data_directory(data)
    descriptors = [os.open(path, os.O_RDONLY) for path in (data.root, data.log, data.archive, data.counters)]
    try:
        for descriptor in descriptors:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert take_all(data)
        ActiveSegment(data, "0", 1, "fsync").close()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def test_second_compactor_is_kept_out_without_the_lock_file(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    with compactor_lock(data):
        data.compact_lock.unlink()
        with pytest.raises(CompactorBusy, match="was deleted"), compactor_lock(data):
            pass
    with compactor_lock(data), pytest.raises(Timeout), owner_lock(data.compact_lock, 0):
        pass


TAKE = """
import fcntl, os, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
taken = []
for folder, folders, files in os.walk(sys.argv[2]):
    for name in files:
        try:
            fcntl.flock(os.open(os.path.join(folder, name), os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        taken.append(name)
print(*sorted(taken))
"""


@needs_root
def test_member_of_the_group_opens_no_lock_file(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=tempfile.gettempdir()) as folder:
        os.chmod(folder, 0o711)  # noqa: S103  its own: no folder above those of the tests changes
        data = DataDirectory(Path(folder) / "data")
        make_data_directory(data)
        take_all(data)
        (data.log / "note.txt").write_text("what the group may read")
        for path in (data.root, *data.root.rglob("*")):
            os.chown(path, 0, MEMBER)
        command = [sys.executable, "-c", TAKE, str(MEMBER), str(data.root)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["note.txt"], "it may read, and locks of that mean nothing"


def test_group_may_read_a_segment_once_it_is_sealed(tmp_path: Path, umask: int) -> None:
    """Before that, a lock on it is what says that its writer is alive."""
    data = DataDirectory(tmp_path / "data")
    make_data_directory(data)
    segment = ActiveSegment(data, "0", 1, "fsync")
    assert stat.S_IMODE(segment.path.stat().st_mode) == 0o600 & ~umask
    segment.commit(b"{}\n", 1)
    name = segment.seal()
    assert name and stat.S_IMODE((data.log / name.file).stat().st_mode) == 0o640
