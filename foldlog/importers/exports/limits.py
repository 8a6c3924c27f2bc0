"""What a foreign file may cost, and the errors that end its import with a sentence.

An export is read in pieces and never unpacked to disk. What inflates is bounded by what
it is made of: beyond INFLATED_FREE bytes at most RATIO_MAX times the bytes that were
read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shared.exit_codes import UsageError

RECORD_MAX_BYTES = 1 << 20
VISIT_MAX_BYTES = 8 << 20
COLUMNS_MAX = 200
INFLATED_FREE = 64 << 20
RATIO_MAX = 200
# Of a zip: the list of its members is read at once.
MEMBERS_MAX = 1_000
DIRECTORY_MAX_BYTES = 1 << 20


class BrokenExport(UsageError):
    """The file cannot be read beyond a line, and repeating the import changes nothing:
    the operator must mend the file. What was before it was appended.
    """


def guarded(pieces: Iterator[bytes], packed_bytes: Callable[[], int], name: str) -> Iterator[bytes]:
    """The pieces, as long as they are in proportion to what they were packed in.
    Raises BrokenExport.
    """
    inflated = 0
    for piece in pieces:
        inflated += len(piece)
        if inflated > INFLATED_FREE and inflated > RATIO_MAX * packed_bytes():
            raise BrokenExport(
                f"{name} inflates to more than {RATIO_MAX} times its size ({inflated:,} bytes so far), which no export "
                "does. Unpack it yourself if you trust it, and import what was in it"
            )
        yield piece
