"""Every text of the page can be told from what it stands on, in both themes, and so can
bars and lines: https://www.w3.org/TR/WCAG22/#contrast-minimum has the sums.
"""

from __future__ import annotations

import re

import pytest

from tests.builders.pages import ROOT

TOKENS = (ROOT / "web" / "dashboard" / "css" / "tokens.css").read_text("utf-8")
TEXT, GRAPHIC = 4.5, 3.0
# What stands on what, and the least that it must differ. A bar of a panel (`share`) is
# behind text; it says nothing that the number beside it does not.
PAIRS = [
    *(("text", on, TEXT) for on in ("page", "card", "share")),
    *(("muted", on, TEXT) for on in ("page", "card", "share")),
    *(("accent", on, TEXT) for on in ("page", "card")),
    ("on-accent", "accent", TEXT),
    ("good", "card", TEXT),
    ("bad", "card", TEXT),
    ("bad", "bad-page", TEXT),
    ("bar", "card", GRAPHIC),
    ("before", "card", GRAPHIC),
    ("before", "bar", 1.1),  # it is dashed besides
]


def colours(scheme: str) -> dict[str, str]:
    """The tokens of a theme, by their names; what the dark one does not say is the
    light one's.
    """
    light, _, dark = TOKENS.partition("@media screen and (prefers-color-scheme: dark)")
    named = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", light))
    if scheme == "dark":
        named |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", dark))
    return named


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_is_the_most_there_is() -> None:
    assert contrast("#000", "#fff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(scheme: str) -> None:
    named = colours(scheme)
    missed = [
        (what, on, round(contrast(named[what], named[on]), 2))
        for what, on, least in PAIRS
        if contrast(named[what], named[on]) < least
    ]
    assert missed == []


def test_no_other_file_names_a_colour() -> None:
    """But for shadows, which are black and let through what is below."""
    for name in ("page.css", "panels.css"):
        text = (ROOT / "web" / "dashboard" / "css" / name).read_text("utf-8")
        assert re.findall(r"#[0-9a-f]{3,8}\b(?=[;\s,)])", text) == [], name
