"""What would be made worse by starting is refused before anything is changed: newer
formats, network file systems.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from foldlog.doctor.file_systems import Mount, find_mount, mount_of, network_reason, parse_mounts
from ingest.collect.encode import encode_lines
from shared.disk.control_files import touch
from shared.disk.layout import DataDirectory
from shared.generations.snapshot import FORMAT
from shared.segments.line import SCHEMA_VERSION
from shared.segments.sealed import sealed_segments
from tests.builders.disks import tree
from tests.builders.logs import data_directory, fold, line, sealed
from tests.builders.server import Server, environment, run_foldlog
from tests.builders.waiting import until

NEWER = 99


def newer_line(id_: str = "event-0001") -> bytes:
    made = line(id_)
    made.v = NEWER
    return encode_lines([made])


def newer_snapshot(data: DataDirectory) -> Path:
    data.snapshot.write_text(f'{{"format": {NEWER}, "generation": 1}}')
    return data.snapshot


def newer_kept_snapshot(data: DataDirectory) -> Path:
    kept = data.kept_snapshot(7)
    kept.write_text(f'{{"format": {NEWER}, "generation": 7}}')
    return kept


def newer_active_segment(data: DataDirectory) -> Path:
    data.active("5").write_bytes(newer_line() + encode_lines([line("event-0002")]))
    return data.active("5")


def newer_sealed_segment(data: DataDirectory) -> Path:
    (data.log / sealed(data, [line("event-0001")]).file).write_bytes(newer_line())
    return sealed_segments(data)[-1].path


def newer_compressed_segment(data: DataDirectory) -> Path:
    plain = newer_sealed_segment(data)
    packed = plain.with_name(f"{plain.name}.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    return packed


def newer_segment_that_is_folded(data: DataDirectory) -> Path:
    """The newer Foldlog has counted it, and then the older one was put back."""
    sealed(data, [line("event-0001")])
    (name,) = fold(data).snapshot.folded.items()
    assert name == ("0", 1)
    path = sealed_segments(data)[-1].path
    path.write_bytes(newer_line())
    return path


MADE_BY_A_NEWER: dict[str, Callable[[DataDirectory], Path]] = {
    "snapshot": newer_snapshot,
    "kept snapshot": newer_kept_snapshot,
    "active segment": newer_active_segment,
    "sealed segment": newer_sealed_segment,
    "compressed segment": newer_compressed_segment,
    "folded segment": newer_segment_that_is_folded,
}


@pytest.mark.long
@pytest.mark.parametrize("make", MADE_BY_A_NEWER.values(), ids=MADE_BY_A_NEWER)
def test_serve_rejects_files_of_a_newer_foldlog_and_changes_no_byte(
    tmp_path: Path, make: Callable[[DataDirectory], Path]
) -> None:
    data = data_directory(tmp_path / "data")
    made = make(data)
    shutil.rmtree(data.run)  # also what is missing stays missing
    before = tree(data.root)

    refused = run_foldlog(["serve"], environment(data.root, listen="127.0.0.1:1", workers=2))

    assert refused.returncode == 2
    assert str(made) in refused.stderr and f"{NEWER}; this one reads up to" in refused.stderr
    assert "newer Foldlog" in refused.stderr and "Install that version" in refused.stderr
    assert "othing was changed" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert tree(data.root) == before


@pytest.mark.long
@pytest.mark.parametrize("command", [["ingest"], ["compact"], ["compact", "--once"], ["rebuild"]], ids=" ".join)
@pytest.mark.parametrize("make", [newer_snapshot, newer_sealed_segment], ids=["snapshot", "segment"])
def test_children_of_serve_reject_newer_files_by_themselves(
    tmp_path: Path, command: list[str], make: Callable[[DataDirectory], Path]
) -> None:
    data = data_directory(tmp_path / "data")
    make(data)
    before = tree(data.root)
    refused = run_foldlog(command, environment(data.root, listen="127.0.0.1:1"))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert tree(data.root) == before


@pytest.mark.long
def test_serve_ends_when_a_restarted_worker_finds_a_newer_file(tmp_path: Path) -> None:
    """The segment comes after the look: put back from a copy, say, while Foldlog runs.
    The worker that dies next finds it.
    """
    with Server(tmp_path) as server:
        newer_active_segment(server.data)
        os.kill(server.child("ingest-0"), 9)
        assert server.running.wait(60) == 2
        assert server.stderr().count('"child":"ingest-0"') == 3  # started, died, started
        server.process = None
        server.data.active("5").unlink()


@pytest.mark.long
def test_newer_segment_fails_a_pass_but_not_those_after_its_removal(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.post([{"name": "pageview"}]).status == 200
        newer = newer_active_segment(server.data)
        touch(server.data.fold_request)
        until(lambda: f"schema version {NEWER}" in server.stderr())
        newer.unlink()
        server.fold()


@pytest.mark.long
@pytest.mark.parametrize("damage", [b"", b"\x00" * 50, b'{"v":99,', newer_line()[:-9] + b'00000"}\n', b"\xff\n"])
def test_damaged_first_line_does_not_prevent_the_start(tmp_path: Path, damage: bytes) -> None:
    """A flipped bit must not keep a service from starting: the fold looks at such a
    segment line by line.
    """
    data = data_directory(tmp_path / "data")
    name = sealed(data, [line("event-0001")])
    (data.log / name.file).write_bytes(damage + encode_lines([line("event-0002")]))
    done = run_foldlog(["compact", "--once"], environment(data.root))
    assert done.returncode == 0, done.stderr


def test_current_formats_are_documented() -> None:
    assert (FORMAT, SCHEMA_VERSION) == (3, 2), (
        "docs/upgrade.md says which formats each release reads: write the new one there"
    )


# Lines as Linux shows them: the mount's own options, then the type, the source, and the
# options of the file system.
LOCAL = """\
21 26 0:19 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
22 26 0:20 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw
26 1 253:1 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
40 26 8:17 / /var/lib rw,noatime shared:20 - xfs /dev/sdb1 rw,attr2,inode64,logbufs=8,noquota
"""
TYPES = {
    "nfs": ("nas:/export /srv/data rw,vers=3", "nfs", "network"),
    "nfs4": ("nas.example.com:/export /srv/data rw,vers=4.2,hard,proto=tcp", "nfs4", "network"),
    "cifs": ("//nas/share /srv/data rw,vers=3.1.1,cache=strict", "cifs", "network"),
    "smb3": ("//nas/share /srv/data rw,vers=3.1.1", "smb3", "network"),
    "9p": ("hostshare /srv/data rw,trans=virtio,version=9p2000.L", "9p", "network"),
    "ceph": ("10.0.0.5:6789:/ /srv/data rw,name=admin,acl", "ceph", "network"),
    "glusterfs": ("gluster1:/volume /srv/data rw,user_id=0", "fuse.glusterfs", "network"),
    "lustre": ("10.0.0.2@tcp:/scratch /srv/data rw,flock,lazystatfs", "lustre", "network"),
    "afs": ("AFS /srv/data rw", "afs", "network"),
    "beegfs": ("beegfs_nodev /srv/data rw,cfgFile=/etc/beegfs/beegfs-client.conf", "beegfs", "network"),
    "sshfs": ("user@host:/data /srv/data rw,user_id=0,group_id=0", "fuse.sshfs", "network"),
    "s3fs": ("s3fs /srv/data rw,user_id=0,group_id=0,allow_other", "fuse.s3fs", "network"),
    "rclone": ("remote:bucket /srv/data rw,user_id=0,group_id=0", "fuse.rclone", "network"),
    "vboxsf": ("share /srv/data rw,nodev,relatime", "vboxsf", "network"),
    "virtiofs": ("share /srv/data rw,relatime", "virtiofs", "network"),
    "mergerfs": ("disks /srv/data rw,user_id=0,group_id=0", "fuse.mergerfs", "fuse"),
    "ntfs-3g": ("/dev/sdb1 /srv/data rw,user_id=0,group_id=0,blksize=4096", "fuseblk", "fuse"),
    "container": ("overlay /srv/data rw,lowerdir=/l1:/l2,upperdir=/u,workdir=/w", "overlay", "layer"),
    "memory": ("tmpfs /srv/data rw,size=65536k", "tmpfs", "memory"),
    "ext4": ("/dev/sdb1 /srv/data rw", "ext4", "local"),
    "btrfs": ("/dev/sdb1 /srv/data rw,space_cache=v2,subvolid=5,subvol=/", "btrfs", "local"),
    "zfs": ("tank/data /srv/data rw,xattr,noacl", "zfs", "local"),
}


def with_mount(row: str, kind: str) -> str:
    source, point, options = row.split(" ")
    return LOCAL + f"52 26 0:48 / {point} rw,relatime shared:33 master:2 - {kind} {source} {options}\n"


@pytest.mark.parametrize(("row", "type_", "kind"), TYPES.values(), ids=TYPES)
def test_type_decides_the_kind_of_a_file_system(row: str, type_: str, kind: str) -> None:
    mount = mount_of("/srv/data/foldlog", with_mount(row, type_))
    assert mount is not None
    assert (mount.type, mount.kind, mount.point) == (type_, kind, "/srv/data")
    why = network_reason(Path("/srv/data/foldlog"), mount)
    assert bool(why) == (kind == "network")
    if why:
        assert f"({type_}, mounted at /srv/data)" in why


@pytest.mark.parametrize(
    ("path", "point"),
    [
        ("/srv/foldlog", "/"),
        ("/var/lib/foldlog", "/var/lib"),
        ("/var/library", "/"),
        ("/var/lib", "/var/lib"),
        ("/", "/"),
    ],
)
def test_directory_is_on_the_nearest_mount_above_it(path: str, point: str) -> None:
    mount = mount_of(path, LOCAL)
    assert mount is not None and mount.point == point


def test_later_of_two_mounts_at_one_point_counts() -> None:
    text = with_mount("nas:/export /var/lib rw", "nfs4")
    assert mount_of("/var/lib/foldlog", text) == Mount("/var/lib", "nfs4", "nas:/export", frozenset({"rw", "relatime"}))


def test_device_identifies_a_hidden_mount() -> None:
    text = with_mount("nas:/export /var rw", "nfs4")  # mounted over /var, and /var/lib in it cannot be seen any more
    assert mount_of("/var/lib/foldlog", text, "0:48") == mount_of("/var", text)
    hidden = mount_of("/var/lib/foldlog", text)
    assert hidden is not None and hidden.type == "xfs"


def test_escapes_in_a_mount_point_are_decoded() -> None:
    text = LOCAL + "60 26 0:50 / /srv/my\\040data\\134x rw - nfs nas:/my\\040export rw\n"
    mount = mount_of("/srv/my data\\x/foldlog", text)
    assert mount is not None and (mount.type, mount.source) == ("nfs", "nas:/my export")


@pytest.mark.parametrize("text", ["", "\n", "1 2 3", "nonsense - ", "26 1 253:1 / / rw"])
def test_unreadable_mounts_are_unknown(text: str) -> None:
    assert parse_mounts(text) == []
    assert mount_of("/srv", text) is None


def test_mount_of_a_missing_directory_is_that_of_its_parent(tmp_path: Path) -> None:
    assert find_mount(tmp_path / "not" / "there") == find_mount(tmp_path)
    assert find_mount(tmp_path, tmp_path / "no-mountinfo") is None


def test_link_is_followed_to_its_file_system(tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    (tmp_path / "data").symlink_to(far)
    device = os.stat(far).st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(LOCAL + f"70 26 {os.major(device)}:{os.minor(device)} / {far} rw - nfs4 nas:/export rw\n")
    found = find_mount(tmp_path / "data" / "foldlog", mounts)
    assert found is not None and found.type == "nfs4"


# `foldlog` as it runs where the directory above the data is a mount over the network.
ELSEWHERE = """
import sys
from pathlib import Path
from foldlog.doctor import file_systems
file_systems.MOUNTS = Path(sys.argv.pop(1))
from foldlog.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    "command", [["serve"], ["ingest"], ["compact"], ["compact", "--once"], ["import", "access.log"]]
)
def test_nothing_is_written_to_a_network_file_system(tmp_path: Path, command: list[str]) -> None:
    device = os.stat(tmp_path).st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"70 26 {os.major(device)}:{os.minor(device)} / {tmp_path} rw - nfs4 nas:/export rw,vers=4.2\n")
    environ = environment(tmp_path / "data", listen="127.0.0.1:1", sites="example.com")
    refused = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(mounts), *command],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 2, refused.stderr
    assert f"is on a network file system (nfs4, mounted at {tmp_path})" in refused.stderr
    assert "Set FOLDLOG_DATA_DIR" in refused.stderr and "Nothing was changed" in refused.stderr
    assert not (tmp_path / "data").exists()
