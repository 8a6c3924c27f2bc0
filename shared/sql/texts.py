"""Numbers that stand for texts in GROUP BY, DISTINCT, IN, joins and windows.

DuckDB hashes a text without a seed, and a client can choose texts that share a hash: a
statement that groups or joins them takes time in the square of their number. Numbers
are grouped by their own hash, so the statement stays linear whatever the texts are.

A fast number is that hash, so two texts may share one. The statement then asks whether
a group holds several texts (`is_ambiguous`), and where one does, it is repeated with
strong numbers. Honest texts never need that.

A keyed number costs a little more, and is for statements that are too large to repeat.
It is made of two hashes: that of the text, and that of the text behind a secret of one
and a half of the blocks that DuckDB hashes. Texts that share the one by what they have
in a place of each block have it in another place for the other one. Two texts may share
a keyed number all the same: where that matters, they are grouped beside it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

# Bounds the work of Parquet's writer, which looks each value of a row group up in a
# dictionary by the same hash: at most so many values of one hash are compared.
DICTIONARY_MAX = 256
_SECRET_BITS = 63
_PROCESS_SECRET = secrets.randbits(_SECRET_BITS)
# Characters that shift a text by half a block of the hash.
_PREFIX = 12


@dataclass(frozen=True)
class TextNumbers:
    """How a text becomes a number, NULL for NULL: 64 bits, or with `strong` 128.

    Without `strong` or `keyed` they are fast numbers. With `columns` only the texts of
    these get strong numbers. `secret` is new each
    time, so these numbers must not be stored; those of `stored_number` may.
    """

    strong: bool = False
    keyed: bool = False
    columns: frozenset[str] | None = None
    secret: int = field(default_factory=lambda: secrets.randbits(_SECRET_BITS))

    @property
    def type(self) -> str:
        """The SQL type of a number."""
        return "UHUGEINT" if self.strong else "UBIGINT"

    def number(self, text: str, column: str | None = None) -> str:
        """SQL of the number of a text, of the column that `text` names or of
        `column`.
        """
        if self._is_strong(column or text):
            return f"md5_number('{self.secret:x}' || {text})"
        if self.keyed:
            return f"CASE WHEN {text} IS NOT NULL THEN hash({text}, concat('{self._prefix}', {text})) END"
        fast = f"CASE WHEN {text} IS NOT NULL THEN xor(hash({text}), {self.secret}) END"
        return f"({fast})::{self.type}" if self.strong else fast

    def is_ambiguous(self, text: str) -> str:
        """SQL of an aggregate: whether a group of one number holds several texts. The
        texts of a whole group must fit into memory where all are different.
        """
        return "false" if self._is_strong(text) else f"min({text}) IS DISTINCT FROM max({text})"

    @property
    def _prefix(self) -> str:
        return f"{self.secret:0{_PREFIX}x}"[-_PREFIX:]

    def _is_strong(self, column: str) -> bool:
        return self.strong and (self.columns is None or column in self.columns)


def stored_number(text: str) -> str:
    """SQL of a number of a text that is the same in every process and release. Finding
    many texts that share one is not feasible; two may.
    """
    # md5_number_lower takes four times as long.
    return f"(md5_number({text}) >> 64)::UBIGINT"


def keyed_number(number: str) -> str:
    """SQL of a stored number (UBIGINT) as a statement may join it: DuckDB hashes
    numbers without a seed, too, so that a client could choose texts whose numbers share
    a bucket of a join. Of its own result it is the stored number again.
    """
    return f"xor({number}, {_PROCESS_SECRET})"


def by_numbers(run: Callable[[TextNumbers], bool]) -> None:
    """Call `run` with fast numbers, and again with strong ones if it returns that a
    group was ambiguous.
    """
    if run(TextNumbers()):
        run(TextNumbers(strong=True))


def by_numbers_of_columns(run: Callable[[TextNumbers], frozenset[str]]) -> None:
    """As `by_numbers`, where `run` returns the columns that it found ambiguous. At
    first only these get strong numbers: three for each event and dimension cost more
    than counting it does.
    """
    ambiguous = run(TextNumbers())
    if ambiguous and run(TextNumbers(strong=True, columns=ambiguous)):
        run(TextNumbers(strong=True))
