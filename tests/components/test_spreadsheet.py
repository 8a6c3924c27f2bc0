"""Gnumeric opens what Foldlog writes as CSV: no text is a formula, numbers are numbers.

Gnumeric finds the separator by itself. Without commas it takes the semicolon, as a
spreadsheet does where the comma stands in numbers. What the test sees as raw CSV has
formulas in the same places, so the program does find them.
"""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from reports.csv_text import encode_csv
from tests.builders.programs import program
from tests.builders.spreadsheet import FORMULAS

pytestmark = [pytest.mark.component, pytest.mark.long]

NAMESPACE = "{http://www.gnumeric.org/v10.dtd}"
NUMBER = "40"  # the type of a value in Gnumeric's file; a formula has none


class Cell(NamedTuple):
    column: int
    kind: str | None


def opened(text: str, path: Path) -> list[Cell]:
    path.write_text(text, encoding="utf-8", newline="")
    to = path.with_suffix(".gnumeric")
    command = [program("ssconvert"), "--import-type=Gnumeric_stf:stf_csvtab", str(path), str(to)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    root = ElementTree.fromstring(gzip.decompress(to.read_bytes()))  # noqa: S314  Gnumeric wrote it
    return [Cell(int(cell.attrib["Col"]), cell.get("ValueType")) for cell in root.iter(f"{NAMESPACE}Cell")]


def csv_of(texts: list[str], *, raw: bool) -> str:
    return encode_csv(["a", "b", "n"], [{"a": text, "b": text, "n": -5} for text in texts], raw=raw)


# Name; the end of the name of the file; what follows each text; what commas become.
SEPARATORS: dict[str, tuple[str, str, str]] = {
    "comma": (".csv", "", ","),
    "comma in a text file": (".txt", "", ","),
    "semicolon": (".txt", ";b;c;d;e;f", "~"),
    "tab": (".tsv", "", "~"),
}


@pytest.mark.parametrize(("suffix", "more", "comma"), SEPARATORS.values(), ids=SEPARATORS)
def test_no_cell_is_a_formula(tmp_path: Path, suffix: str, more: str, comma: str) -> None:
    texts = [f"{text}{more}" for text in FORMULAS.values()]
    raw = opened(csv_of(texts, raw=True).replace(",", comma), tmp_path / f"raw{suffix}")
    assert any(cell.kind is None for cell in raw), "Gnumeric finds formulas where there are some"
    cells = opened(csv_of(texts, raw=False).replace(",", comma), tmp_path / f"made{suffix}")
    assert not any(cell.kind is None for cell in cells)
    if comma == ",":
        assert [cell.kind for cell in cells if cell.column == 2][1:] == [NUMBER] * len(texts)
    else:
        assert suffix == ".tsv" or max(cell.column for cell in cells) >= 5
