"""The members of a zip, read in pieces where they are: nothing is written to a file,
so that the names in the archive name nothing.

A member that is encrypted, packed twice or in an unknown way, or that shares its bytes
with another one is refused. The list of members is bounded before it is read.
"""

from __future__ import annotations

import errno
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from foldlog.importers.exports.limits import DIRECTORY_MAX_BYTES, MEMBERS_MAX, BrokenExport, guarded
from shared.disk.compression import DecompressionError

MAGIC = b"PK\x03\x04"
EMPTY_MAGIC = b"PK\x05\x06"
_PIECE = 1 << 18
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OverflowError)


class Archive:
    """Raises BrokenExport for what no export has, DecompressionError for damage."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._name = name
        if not file.seekable():
            raise BrokenExport(f"{name} is a zip, which cannot be read from a pipe: name its file")
        self._size = file.seek(0, 2)
        try:
            self._zip = zipfile.ZipFile(cast("BinaryIO", _Bounded(file, name)))
        except _DAMAGE as error:
            raise DecompressionError(f"the zip is damaged ({error})") from None
        members = self._zip.infolist()
        if len(members) > MEMBERS_MAX:
            raise BrokenExport(f"{name} has {len(members):,} files in it; an export has at most {MEMBERS_MAX:,}")
        self.members = self._by_name(members)

    def _by_name(self, members: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        """By the last part of each name, directories left out."""
        found: dict[str, zipfile.ZipInfo] = {}
        for each in members:
            last = each.filename.replace("\\", "/").rpartition("/")[2]
            if not last:
                continue
            if last in found:
                raise BrokenExport(f"{self._name} has two files {last[:80]!r} in it: take the one that is right out")
            found[last] = each
        if sum(each.compress_size for each in found.values()) > self._size:
            raise BrokenExport(f"files in {self._name} share their bytes, which no export does")
        return found

    def pieces(self, member: str) -> Iterator[bytes]:
        """The content of a member."""
        info = self.members[member]
        name = f"{self._name}: {member}"
        if info.flag_bits & _ENCRYPTED:
            raise BrokenExport(f"{name} is encrypted: unpack it with its password, and import what was in it")
        if info.compress_type not in _METHODS:
            raise BrokenExport(f"{name} is packed in an unusual way ({info.compress_type}): unpack it first")
        return guarded(self._inflated(info), lambda: info.compress_size, name)

    def _inflated(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        try:
            with self._zip.open(info) as content:
                while piece := content.read(_PIECE):
                    yield piece
        except _DAMAGE as error:
            raise DecompressionError(f"{info.filename[:80]!r} in the zip is damaged ({error})") from None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise DecompressionError(f"{info.filename[:80]!r} in the zip is damaged: it begins nowhere") from None


class _Bounded:
    """A file of which at most so much is read at once: the size of the list of members
    is what the archive says.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= DIRECTORY_MAX_BYTES:
            if size >= 0 or self._rest() > DIRECTORY_MAX_BYTES:
                raise BrokenExport(
                    f"{self._name}: the list of its files is longer than {DIRECTORY_MAX_BYTES:,} bytes; "
                    f"an export has at most {MEMBERS_MAX:,} files"
                )
            size = DIRECTORY_MAX_BYTES
        return self._file.read(size)

    def _rest(self) -> int:
        here = self._file.tell()
        end = self._file.seek(0, 2)
        self._file.seek(here)
        return end - here
