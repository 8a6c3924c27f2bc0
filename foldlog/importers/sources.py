"""Which log a file is: a random name, kept under keyed fingerprints of how it begins.

A file is the same log when it was compressed, renamed by rotation, or has grown: it
begins as before. The fingerprints are those of the first 1, 2, 4, 8 … lines, addresses
included, so that the logs of two front ends are two. They are keyed, and the key is in
private/ with them: without it no address can be found by trying.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence

import msgspec

from shared.disk.durable import PRIVATE_MODE, publish
from shared.disk.layout import DataDirectory
from shared.exit_codes import UsageError

LINES_MAX = 1024
_NAME_BYTES = 16
_PRINT_BYTES = 12


class Source(msgspec.Struct):
    """`begins`: by number of lines, the fingerprint of so many first lines."""

    name: str
    begins: dict[int, str]


class _Kept(msgspec.Struct):
    key: str
    sources: list[Source]


_DECODER = msgspec.json.Decoder(_Kept)


class Sources:
    """The logs that were imported into a data directory. A damaged list is an error,
    since without it each line would count again: raises UsageError.
    """

    def __init__(self, data: DataDirectory) -> None:
        self._data = data
        try:
            self._kept = _DECODER.decode(data.import_sources.read_bytes())
        except FileNotFoundError:
            self._kept = _Kept(secrets.token_hex(32), [])
        except msgspec.DecodeError:
            raise UsageError(
                f"{data.import_sources} is damaged: without it logs that were imported count again. Restore it, or "
                "delete it and import only new logs"
            ) from None

    def name_of(self, lines: Sequence[str]) -> str:
        """The source of a file that begins with these lines (at most LINES_MAX of
        them): a known one, or a new one. `save` keeps it.
        """
        known = {count for source in self._kept.sources for count in source.begins}
        begins = self._fingerprints(lines, known)
        source = self._matching(begins)
        if source is None:
            source = Source(secrets.token_hex(_NAME_BYTES), {})
            self._kept.sources.append(source)
        kept = [count for count in begins if _is_level(count) or count == len(lines)]
        source.begins |= {count: begins[count] for count in kept}
        last = max(source.begins)
        source.begins = {count: each for count, each in source.begins.items() if _is_level(count) or count == last}
        return source.name

    def save(self) -> None:
        """Before the first event of a new source is appended: a crash in between costs
        no identity.
        """
        publish(self._data.import_sources, msgspec.json.encode(self._kept), PRIVATE_MODE)

    def _matching(self, begins: dict[int, str]) -> Source | None:
        """That which agrees on most lines, and on all that both have."""
        best: tuple[int, Source] | None = None
        for source in self._kept.sources:
            common = max((count for count in source.begins if count in begins), default=0)
            if common and source.begins[common] == begins[common] and (best is None or common > best[0]):
                best = common, source
        return best[1] if best else None

    def _fingerprints(self, lines: Sequence[str], known: set[int]) -> dict[int, str]:
        running = hmac.new(bytes.fromhex(self._kept.key), digestmod=hashlib.sha256)
        found = {}
        for count, line in enumerate(lines[:LINES_MAX], start=1):
            running.update(line.encode("utf-8", "surrogateescape") + b"\n")
            if _is_level(count) or count == len(lines) or count in known:
                found[count] = running.copy().hexdigest()[: 2 * _PRINT_BYTES]
        return found


def _is_level(count: int) -> bool:
    return count & (count - 1) == 0


def named(name: str) -> str:
    """The source that the operator names with --source."""
    return hashlib.sha256(b"source\n" + name.encode("utf-8", "surrogateescape")).hexdigest()[: 2 * _NAME_BYTES]
