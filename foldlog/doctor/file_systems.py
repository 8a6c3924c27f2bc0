"""Which file system a directory is on, and whether Foldlog's promises hold there.

P1 and P3 to P5 depend on a local file system of Linux: every process sees a lock, an
fsync reaches the disk, a rename is atomic. Over a network some of this is missing, and
no error shows it until events are lost.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

from shared.disk.layout import DataDirectory
from shared.disk.room import directories
from shared.exit_codes import UsageError

MOUNTS = Path("/proc/self/mountinfo")

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "coda", "9p", "ceph", "glusterfs", "lustre"}
)
CLUSTER = frozenset({"beegfs", "gpfs", "orangefs", "pvfs2", "gfs2", "ocfs2"})
# Folders that a host shares with a virtual machine: a second kernel writes there.
SHARED_FOLDERS = frozenset({"vboxsf", "vmhgfs", "prl_fs", "virtiofs", "fuse.vmhgfs-fuse", "fuse.grpcfuse", "fakeowner"})
# Names after `fuse.`. A FUSE file system that is not listed may be local or remote.
NETWORK_FUSE = frozenset(
    {
        "sshfs",
        "s3fs",
        "s3ql",
        "goofys",
        "gcsfuse",
        "blobfuse",
        "blobfuse2",
        "rclone",
        "davfs",
        "davfs2",
        "mount-s3",
        "juicefs",
    }
    | {"glusterfs", "ceph", "ceph-fuse", "moosefs", "mfs", "lizardfs", "saunafs", "seaweedfs", "beegfs", "cvmfs2"}
    | {"curlftpfs", "smbnetfs", "gvfsd-fuse"}
)
LAYERS = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs"})
MEMORY = frozenset({"tmpfs", "ramfs"})
# With these, a power cut may lose synced data. (`data=ordered` is the default.)
UNSAFE_MOUNT_OPTIONS = frozenset({"nobarrier", "barrier=0", "data=writeback"})

_ESCAPED = re.compile(r"\\([0-7]{3})")

Kind = Literal["local", "network", "fuse", "layer", "memory"]


class NetworkFileSystem(UsageError):
    """The data directory is on a file system on which locks and fsync are not reliable.
    Nothing was changed.
    """


class Mount(NamedTuple):
    """A line of mountinfo. `options`: those of the mount and of its file system."""

    point: str
    type: str
    source: str
    options: frozenset[str]

    @property
    def kind(self) -> Kind:
        fuse, _, name = self.type.partition(".")
        if self.type in NETWORK | CLUSTER | SHARED_FOLDERS or (fuse == "fuse" and name in NETWORK_FUSE):
            return "network"
        if self.type in LAYERS:
            return "layer"
        if self.type in MEMORY:
            return "memory"
        return "fuse" if self.type.startswith("fuse") else "local"


def parse_mounts(text: str) -> list[tuple[str, Mount]]:
    """The mounts of a mountinfo text in the order of mounting, each after its device
    (`major:minor`).
    """
    found = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        mount, file_system = before.split(" "), after.split(" ")
        if not dash or len(mount) < 6 or len(file_system) < 2:
            continue
        options = frozenset([*mount[5].split(","), *(file_system[2].split(",") if len(file_system) > 2 else [])])
        # A read-only mount of a writable file system is read-only.
        options -= {"rw"} if "ro" in options else set()
        found.append((mount[2], Mount(_plain(mount[4]), file_system[0], _plain(file_system[1]), options)))
    return found


def mount_of(path: str, text: str, device: str | None = None) -> Mount | None:
    """The mount of an absolute path without links. `device` (major:minor) decides where
    one mount hides another.
    """
    above = [(dev, mount) for dev, mount in parse_mounts(text) if _is_below(path, mount.point)]
    same = [entry for entry in above if entry[0] == device]  # none on btrfs, whose subvolumes have devices of their own
    found: Mount | None = None
    for _, mount in same or above:
        if found is None or len(mount.point) >= len(found.point):
            found = mount
    return found


def find_mount(directory: Path, mounts: Path | None = None) -> Mount | None:
    """The mount of a directory, which need not exist yet. None if it is unknown."""
    there = directory.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        device = os.stat(there).st_dev
        text = (mounts or MOUNTS).read_text("utf-8", "surrogateescape")
        return mount_of(os.path.realpath(there), text, f"{os.major(device)}:{os.minor(device)}")
    except OSError:
        return None


def network_reason(directory: Path, mount: Mount) -> str | None:
    """Why Foldlog does not write to a directory on this mount, or None."""
    if mount.kind != "network":
        return None
    return (
        f"{directory} is on a network file system ({mount.type}, mounted at {mount.point}): locks, renames and "
        f"fsync are "
        "not reliable there, and events could be lost or counted twice"
    )


def reject_network(data: DataDirectory) -> None:
    """Raises NetworkFileSystem when the data directory, or one in it, is on one."""
    for directory in directories(data) or [data.root]:
        mount = find_mount(directory)
        if mount is not None and (why := network_reason(directory, mount)):
            raise NetworkFileSystem(
                f"{why}. Set FOLDLOG_DATA_DIR to a directory on a disk of this host. Nothing was changed."
            )


def _is_below(path: str, point: str) -> bool:
    return point == "/" or path == point or path.startswith(f"{point}/")


def _plain(field: str) -> str:
    """A field of mountinfo, in which blanks and backslashes are octal escapes."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), field)
