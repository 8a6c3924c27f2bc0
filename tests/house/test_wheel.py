"""The built wheel, installed into a fresh environment outside the checkout: it serves
its page, and has everything that the source tree has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.builders.pages import ROOT
from tests.builders.server import Server

pytestmark = pytest.mark.long

PACKAGES = ("foldlog", "ingest", "reports", "compactor", "shared", "web")
TIMEOUT_S = 300


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without network: the build backend is among the development extras."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(out), str(ROOT)], check=True, timeout=TIMEOUT_S, capture_output=True)
    (built,) = out.glob("foldlog-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its interpreter. The dependencies come from this environment, Foldlog does
    not.
    """
    place = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True, timeout=TIMEOUT_S)
    python = place / "bin" / "python"
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, check=True, capture_output=True, text=True, timeout=TIMEOUT_S).stdout.strip())
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, timeout=TIMEOUT_S, capture_output=True)
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "foldlog" not in path.name.lower() and path.suffix != ".pth" and not (site / path.name).exists():
            (site / path.name).symlink_to(path)
    return python


def test_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S607
    names = zipfile.ZipFile(wheel).namelist()
    assert set(tracked.stdout.split()) - set(names) == set()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)


class _Installed(Server):
    """The server as it is installed, started outside the checkout."""

    def __init__(self, directory: Path, python: Path) -> None:
        super().__init__(directory)
        self._python = python
        self.environ.pop("PYTHONPATH", None)

    def command(self) -> list[str]:
        return ["/usr/bin/env", "-C", str(self.data.root.parent), str(self._python), "-m", "foldlog", "serve"]


def test_installed_wheel_serves_its_page_and_counts(installed: Path, tmp_path: Path) -> None:
    with _Installed(tmp_path, installed) as server:
        assert os.readlink(f"/proc/{server.running.pid}/cwd") == str(tmp_path)
        page = server.request("GET", "/admin/")
        assert page.status == 200 and b"<title>" in page.body
        server.post([{"name": "pageview", "visitor": "visitor-1"}])
        server.fold()
        assert server.get("/admin/api/report").json()["total"] == {"events": 1, "visitors": 1}
