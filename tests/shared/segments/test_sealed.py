"""Counting the lines of segments."""

from __future__ import annotations

import itertools

from shared.segments.sealed import count_newlines


def test_newlines_are_counted_as_they_stand() -> None:
    for length in range(6):
        for letters in itertools.product(b"\n\r}", repeat=length):
            assert count_newlines(bytes(letters)) == letters.count(ord("\n"))
    # What else ends a line elsewhere: none of it does here.
    assert count_newlines("a\x0bb\x0cc\x1cd\x85e\u2028f\u2029".encode()) == 0
