"""Escaping changes no text, leaves nothing that moves a terminal, and takes at most
three bytes for one.
"""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.control_chars import CONTROL_CHARS, escape_control_chars, escape_in_log

ODD = "\x7f\x80\x85\x9b\x9f\u061c\u200e\u200f\u2028\u202e\u2066\u2069"
HARMLESS = 'az"\\/\b\f\r\n\t\x01äß漢😀\u00a0\u200b\u2027\u202f\u2065\u206a'
# Pieces of the placeholders and escapes that are used on the way.
TRAPS = ["\\b", "\\f", "\\r", "\\u0080", "\\\\", '\\"', "\\n"]
TEXTS = st.lists(st.sampled_from([*ODD, *HARMLESS, *TRAPS]), max_size=300).map("".join)
LINES = st.lists(TEXTS | st.text(max_size=30), min_size=1, max_size=5)


def encode(texts: list[str]) -> bytes:
    return msgspec.json.Encoder().encode_lines(texts)[:-1]


@given(LINES)
def test_escaped_text_is_the_same_and_moves_no_terminal(texts: list[str]) -> None:
    encoded = encode(texts)
    for escape, left in ((escape_control_chars, "\n"), (escape_in_log, "\n\x7f")):
        escaped = escape(encoded)
        assert [json.loads(line) for line in escaped.split(b"\n")] == texts
        assert CONTROL_CHARS.search(escaped.decode("utf-8").translate(dict.fromkeys(map(ord, left)))) is None


@given(LINES)
def test_line_of_the_log_takes_at_most_three_bytes_for_one(texts: list[str]) -> None:
    assert len(escape_in_log(encode(texts))) <= 3 * len(encode(texts))


@pytest.mark.parametrize("odd", ODD)
def test_few_odd_characters_leave_the_other_letters_alone(odd: str) -> None:
    """Such as the marks of a text that is written from right to left."""
    encoded = encode(["שלום " * 40 + odd, "漢" * 10])
    escaped = escape_control_chars(encoded)
    assert escaped == encoded.replace(odd.encode("utf-8"), b"\\u%04x" % ord(odd))


def test_dense_line_costs_its_neighbour_nothing() -> None:
    first, second = escape_in_log(encode(["\x80" * 100 + "ä", "ä"])).split(b"\n")
    assert first.isascii() and second == encode(["ä"])
