"""File systems of their own, made to fail for real: small ones, ones whose power is
cut, ones whose disk has bad writes.

Each is a context manager that unmounts and deletes what it made, whatever happened in
between. All of them need root and the right to mount; CannotMount says what is missing.

A power cut is the shutdown ioctl of ext4 and XFS, without a flush of their journal:
what was not synced is gone, and the next mount replays the journal as after a real cut.
btrfs has no such ioctl; its image lies on an XFS that has.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

MAKERS = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
IMAGE_BYTES = 320 << 20  # XFS takes nothing smaller than 300 MiB
HOST_BYTES = 800 << 20
UNMOUNT_TRIES = 100
# The ioctl XFS_IOC_GOINGDOWN, which ext4 has as well, and its flag for not even
# flushing the journal.
SHUTDOWN = 0x8004587D
WITHOUT_FLUSH = (2).to_bytes(4, "little")


class CannotMount(Exception):
    """This process may not mount, or a program for it is not installed."""


class MissingProgram(CannotMount):
    """A program that makes or breaks file systems is not installed."""


def need(*programs: str) -> None:
    """Raises MissingProgram for the first that is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            raise MissingProgram(f"{program} is not installed")


def run(*command: str | Path) -> str:
    """Run a program of the system. Raises CannotMount with what it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise CannotMount(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def run_any(*command: str | Path) -> int:
    """Run a program of the system whose exit code is more than yes or no."""
    return subprocess.run([str(word) for word in command], capture_output=True, check=False, timeout=60).returncode


def is_mounted(place: Path) -> bool:
    """From the kernel's list: os.path.ismount says no to a file system that answers
    every question with EIO.
    """
    return any(line.split()[1] == str(place) for line in Path("/proc/mounts").read_text("utf-8").splitlines())


def unmount(place: Path) -> None:
    """Unmount, once a process that is just dying has ended. Detaches what is still
    busy after that.
    """
    for _ in range(UNMOUNT_TRIES):
        done = subprocess.run(["umount", str(place)], capture_output=True, check=False, timeout=60)  # noqa: S607
        if done.returncode == 0 or not is_mounted(place):
            return
        time.sleep(0.02)
    run("umount", "-l", place)


@contextmanager
def mounted(place: Path, *mount: str | Path) -> Iterator[Path]:
    """`mount … place` for as long as the block lasts."""
    place.mkdir(parents=True, exist_ok=True)
    need("mount", "umount")
    run("mount", *mount, place)
    try:
        yield place
    finally:
        if is_mounted(place):
            unmount(place)


def small_tmpfs(place: Path, options: str) -> AbstractContextManager[Path]:
    """A disk that can really be full: `size=1m`, `nr_inodes=20`."""
    return mounted(place, "-t", "tmpfs", "-o", options, "tmpfs")


class Disk:
    """An image with a file system, mounted at `place`, whose power can be cut and given
    back. Made by `disk`.
    """

    def __init__(self, directory: Path, kind: str) -> None:
        self.kind = kind
        self.place = directory / "mounted"
        self._host = directory / "host" if kind == "btrfs" else None
        self._host_image = directory / "host.img"
        self._image = (self._host or directory) / "disk.img"

    def make(self) -> None:
        need("mount", MAKERS[self.kind][0], *([MAKERS["xfs"][0]] if self._host else []))
        self.place.mkdir(parents=True)
        if self._host:
            self._host.mkdir()
            _make(self._host_image, "xfs", HOST_BYTES)
            run("mount", "-o", "loop", self._host_image, self._host)
        _make(self._image, self.kind, IMAGE_BYTES)
        if self._host:
            os.sync()
        run("mount", "-o", "loop", self._image, self.place)

    def cut_power(self) -> None:
        """From now on nothing is written: what was not synced is lost, and every write
        fails.

        An fdatasync that is under way at this moment may still return 0 though its data
        is gone, on ext4 and on XFS. With real power no client would be left to answer,
        so acknowledgements count up to the moment before this call only.
        """
        descriptor = os.open(self._host or self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, WITHOUT_FLUSH)
        finally:
            os.close(descriptor)

    def give_power(self) -> None:
        """Mount it as the next boot does. Nobody may use it at this moment."""
        self.remove()
        if self._host:
            run("mount", "-o", "loop", self._host_image, self._host)
        run("mount", "-o", "loop", self._image, self.place)

    def remove(self) -> None:
        """Unmount what is mounted."""
        for place in (self.place, self._host):
            if place and is_mounted(place):
                unmount(place)


def _make(image: Path, kind: str, size: int) -> None:
    with image.open("xb") as file:
        file.truncate(size)
    run(*MAKERS[kind], image)


@contextmanager
def disk(directory: Path, kind: str) -> Iterator[Disk]:
    """A mounted disk of 320 MiB in `directory`, which is deleted afterwards. `kind`:
    ext4, xfs or btrfs.
    """
    made = Disk(directory, kind)
    directory.mkdir(parents=True)
    try:
        made.make()
        yield made
    finally:
        made.remove()
        shutil.rmtree(directory)


@contextmanager
def overcommitted_ext4(directory: Path, size_mb: int, room_mb: int) -> Iterator[Path]:
    """An ext4 that believes in `size_mb` while its image has room for `room_mb`:
    writing back fails with a real EIO.

    Yields the place where it is mounted; the image is beside it as `room/disk.img`,
    with free space to be had by deleting `room/ballast`.
    """
    need("mkfs.ext4")
    directory.mkdir(parents=True)
    room, place = directory / "room", directory / "mounted"
    try:
        with small_tmpfs(room, f"size={room_mb}m"):
            _make(room / "disk.img", "ext4", size_mb << 20)
            with mounted(place, "-o", "loop", room / "disk.img"):
                yield place
    finally:
        shutil.rmtree(directory)
