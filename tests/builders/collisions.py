"""Texts that DuckDB's hash of texts maps to one value, as an attacker makes them.

The hash has no seed and can be inverted: over each block of 8 bytes, as a little-endian
number, h = (h xor block) * MULTIPLY, from a beginning that depends on the length alone.
`tests/compactor/fold/test_collisions.py` asks the installed DuckDB whether it is still
so: what these texts were made for would otherwise be measured with harmless ones.
"""

from __future__ import annotations

import random
import string
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice, product
from math import isqrt

# Two ids that have one number in the index of ids, with the site example.com. Half an
# MD5 can be brought to agree for two texts, but not for many.
IDS_OF_ONE_NUMBER = ("gmlolgjgfjbihdhk", "fcenhelokehookel")
BLOCK = 8
TEXT = 6 * BLOCK
_BITS = (1 << 64) - 1
_MULTIPLY = 0xD6E8FEB86659FD93
_DIVIDE = pow(_MULTIPLY, -1, 1 << 64)
_BEGIN = 0xE17A1465
_LENGTH = 0xC6A4A7935BD1E995
# Letters whose high bits are equal, so that a half of the search can be found by them:
# 0x61 to 0x7A and, with capitals, 0x41 to 0x7A.
_LOWER = (0xE0, 0x60, string.ascii_lowercase.encode())
_MIXED = (0xC0, 0x40, string.ascii_letters.encode() + b"_")


def colliding(count: int, prefix: str = "", suffix: str = "", *, lower_case: bool = False) -> list[str]:
    """`count` texts of one hash value: the prefix (ASCII, filled up with `-` to whole
    blocks), TEXT letters (with capitals and `_` unless `lower_case`), the suffix.
    """
    begun = _whole_blocks(prefix)
    side = isqrt(max(count - 1, 0)) + 1
    letters = _LOWER if lower_case else _MIXED
    heads, state = _pieces(_state_after(begun, len(begun) + TEXT + len(suffix)), side, letters)
    tails, _ = _pieces(state, side, letters)
    return [begun + head + tail + suffix for head, tail in islice(product(heads, tails), count)]


def colliding_under_any_prefix(count: int, prefix: str = "", suffix: str = "") -> list[str]:
    """`count` texts of at most two hash values, whatever whole blocks stand before
    them: of each pair of blocks, both end in `p` or both in `0`. 16 characters for each
    factor of two.
    """
    begun = _whole_blocks(prefix)
    pairs = max(count - 1, 1).bit_length()
    choices = ("xxxxxxxpxxxxxxxp", "xxxxxxx0xxxxxxx0")
    return [begun + "".join(text) + suffix for text in islice(product(choices, repeat=pairs), count)]


def random_texts(texts: Sequence[str], beginning: int = BLOCK, end: int = 0, seed: int = 1) -> list[str]:
    """The control: as many different texts of the same lengths, random letters but for
    so many characters at the beginning and at the end.
    """
    pick = random.Random(seed)
    made = []
    for number, text in enumerate(texts):
        size = len(text) - beginning - end - 7
        middle = f"{number:07d}" + "".join(pick.choices(string.ascii_lowercase, k=size))
        made.append(text[:beginning] + middle + text[len(text) - end :])
    return made


def _pieces(state: int, wanted: int, letters: tuple[int, int, bytes]) -> tuple[list[str], int]:
    """Pieces of three blocks that lead from one state of the hash to one other, and
    that state.

    The first block leads forward from the state and the last one back from the end;
    the one between them is their difference, and is found where its high bits are
    those of letters.
    """
    high, wanted_high, allowed = letters
    mask, target = high * 0x0101010101010101, wanted_high * 0x0101010101010101
    pick = random.Random(state)
    end = pick.getrandbits(64)
    forward: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
    found: dict[bytes, None] = {}
    while len(found) < wanted:
        for first in _random_blocks(pick, allowed):
            reached = ((state ^ int.from_bytes(first, "little")) * _MULTIPLY) & _BITS
            forward[reached & mask].append((reached, first))
        for last in _random_blocks(pick, allowed):
            needed = ((end ^ int.from_bytes(last, "little")) * _DIVIDE) & _BITS
            for reached, first in forward.get((needed ^ target) & mask, ()):
                middle = (reached ^ needed).to_bytes(BLOCK, "little")
                if not middle.translate(None, allowed):
                    found[first + middle + last] = None
    return [piece.decode() for piece in islice(found, wanted)], (end * _MULTIPLY) & _BITS


def _random_blocks(pick: random.Random, allowed: bytes, count: int = 8192) -> Iterator[bytes]:
    drawn = bytes(pick.choices(allowed, k=count * BLOCK))
    return (drawn[at : at + BLOCK] for at in range(0, len(drawn), BLOCK))


def _state_after(prefix: str, length: int) -> int:
    """The state of the hash of a text of so many bytes after its prefix."""
    state = _BEGIN ^ ((length * _LENGTH) & _BITS)
    for at in range(0, len(prefix), BLOCK):
        state = ((state ^ int.from_bytes(prefix[at : at + BLOCK].encode(), "little")) * _MULTIPLY) & _BITS
    return state


def _whole_blocks(prefix: str) -> str:
    return prefix.ljust(-(-len(prefix) // BLOCK) * BLOCK, "-")
