"""Many regular expressions, searched for in one text: each only where the text holds
the letters that it cannot match without.

Python tries every alternative of an expression at every character, so that a list of
crawlers costs milliseconds in a long agent. Looking for fixed letters costs a hundredth
of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{[\d,]+\}|.", re.DOTALL)
_SPECIAL = frozenset("^$.()[]{}?*+|")


class Pattern:
    """One alternative, compiled when it is first needed. `letters`: what a text holds
    that it matches, in lower case where case is ignored; empty if that is not known.
    """

    def __init__(self, text: str, *, ignores_case: bool) -> None:
        self._text, self._flags = text, re.IGNORECASE if ignores_case else 0
        letters = "" if "(?i" in text else max(_runs(_ATOM.findall(text)), key=len)
        self._is_plain = letters == re.sub(r"\\(\W)", r"\1", text)
        self.letters = letters.lower() if ignores_case else letters

    def search(self, text: str) -> bool:
        """Whether it matches somewhere in a text that has its letters."""
        return self._is_plain or self._compiled.search(text) is not None

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self._text, self._flags)


class Alternatives:
    """Patterns, of which it counts whether any matches."""

    def __init__(self, *texts: str, ignores_case: bool = False) -> None:
        self._patterns = [Pattern(each, ignores_case=ignores_case) for text in texts for each in _split(text)]
        self._ignores_case = ignores_case

    def search(self, text: str) -> bool:
        """Whether one of them matches somewhere in the text."""
        looked_at = text.lower() if self._ignores_case else text
        return any(each.letters in looked_at and each.search(text) for each in self._patterns)


def _split(pattern: str) -> Iterator[str]:
    """The alternatives of an expression, without those within a group."""
    begun: list[str] = []
    depth = 0
    for atom in _ATOM.findall(pattern):
        depth += (atom == "(") - (atom == ")")
        if atom == "|" and not depth:
            yield "".join(begun)
            begun = []
        else:
            begun.append(atom)
    yield "".join(begun)


def _runs(atoms: list[str]) -> Iterator[str]:
    """Letters that stand beside each other in whatever the atoms match. What is in a
    group may be absent.
    """
    run, depth = "", 0
    for atom in atoms:
        depth += (atom == "(") - (atom == ")")
        is_letter = not atom[1].isalnum() if atom[0] == "\\" else len(atom) == 1 and atom not in _SPECIAL
        if is_letter and not depth:
            run += atom[-1]
            continue
        yield run[:-1] if atom[0] in "?*{" else run  # what stands before it may be absent
        run = ""
    yield run
