"""Locales that are not UTF-8: files are read as UTF-8, and what the terminal has no
character for is escaped.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from tests.builders.logs import data_directory, fold, line, sealed
from tests.builders.programs import missing, program
from tests.builders.server import environment

pytestmark = [pytest.mark.long, pytest.mark.component]

LOCALES = {"zh_CN.GBK": ("zh_CN", "GBK"), "de_DE.ISO-8859-1": ("de_DE", "ISO-8859-1")}
DAY = ["--from", "2026-11-22", "--to", "2026-11-22"]


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """A data directory with texts that no such locale has, and the locales."""
    folder = tmp_path_factory.mktemp("locales")
    for name, (language, charset) in LOCALES.items():
        command = [program("localedef"), "-i", language, "-f", charset, str(folder / name)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            missing(f"this machine has no sources of the locale {name}")
    data = data_directory(folder)
    sealed(data, [line("event-1", name="\u00fc\u6f22\U0001f600", url="https://example.com/\u6f22\U0001f600")])
    fold(data)
    yield environment(data.root) | {"LOCPATH": str(folder)}


@pytest.mark.parametrize("name", LOCALES)
def test_commands_work_in_a_locale_without_utf_8(environ: Mapping[str, str], name: str) -> None:
    found = {
        each[0]: run_in(name, each, environ) for each in (["rebuild"], ["verify"], ["report", *DAY, "--by", "event"])
    }
    assert [(command, done.returncode) for command, done in found.items() if done.returncode] == []
    assert b"\\U0001f600" in found["report"].stdout
    assert b"Traceback" not in run_in(name, ["doctor"], environ).stderr


def run_in(locale: str, arguments: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "foldlog", *arguments]
    return subprocess.run(command, env={**environ, "LC_ALL": locale}, capture_output=True, check=False)
