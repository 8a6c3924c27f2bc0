"""The browser script: what is served is made of what is read, the frozen one never
changes, and the page about it names all of it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.pages import ROOT, first_cells, page, section

ROOM = ROOT / "web" / "tracker"
MOST_BYTES = 2048
# Pages load the frozen script with this hash. It never changes: another script is
# another version.
FROZEN_V1 = "sha384-BQcFMvGidEeaWg3P5QO3S2RABI2IGxuP2ePW2j3C6a21d81dBqsVtQ/ksBniCV5V"


def test_frozen_script_is_the_one_that_was_published() -> None:
    digest = hashlib.sha384((ROOM / "tracker.v1.js").read_bytes()).digest()
    assert f"sha384-{base64.b64encode(digest).decode('ascii')}" == FROZEN_V1


def test_page_has_the_hash_of_the_frozen_script() -> None:
    assert set(re.findall(r"sha384-[A-Za-z0-9+/=]+", page("docs/tracker.md"))) == {FROZEN_V1}


@pytest.mark.parametrize("name", ["tracker.min.js", "tracker.v1.js"])
def test_served_script_is_small(name: str) -> None:
    assert len(gzip.compress((ROOM / name).read_bytes(), 9, mtime=0)) <= MOST_BYTES


def test_served_script_is_made_of_the_readable_one(tmp_path: Path) -> None:
    terser = Path(sys.prefix) / "node_modules" / ".bin" / "terser"
    if not terser.exists() and os.environ.get("CI") != "true":
        pytest.skip("terser is not installed; make setup does it where there is npm")
    made = tmp_path / "made.js"
    options = ["--config-file", str(ROOM / "terser.json"), "--output", str(made)]
    subprocess.run([str(terser), str(ROOM / "tracker.js"), *options], check=True, timeout=60)
    assert made.read_bytes() == (ROOM / "tracker.min.js").read_bytes(), "make tracker, and say it in CHANGELOG.md"


def test_page_names_every_attribute_of_the_script() -> None:
    source = (ROOM / "tracker.js").read_text("utf-8")
    read = set(re.findall(r"\bset\.(\w+)", source)) | set(re.findall(r'"(\w+)" in set', source))
    assert first_cells(section(page("docs/tracker.md"), "Attributes")) == {f"data-{name}" for name in read}


def test_types_name_every_function_of_the_script() -> None:
    functions = set(re.findall(r"^  foldlog\.(\w+) = ", (ROOM / "tracker.js").read_text("utf-8"), re.MULTILINE))
    types = (ROOM / "tracker.d.ts").read_text("utf-8")
    assert functions == set(re.findall(r"^  (\w+)\(.*\): void;$", types, re.MULTILINE))
