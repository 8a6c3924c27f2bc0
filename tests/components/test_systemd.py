"""The units in systemd/, as systemd's own programs read them, and what they say
compared with what the code does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from foldlog.arguments import make_parser
from foldlog.supervisor import children
from ingest import worker
from ingest.http import drain
from shared import exit_codes
from shared.settings import OTHER_DESCRIPTORS, Settings
from tests.builders.pages import ROOT, fenced, page
from tests.builders.supervised import Activated
from tests.builders.waiting import TIMEOUT_S

pytestmark = pytest.mark.long

UNITS = sorted((ROOT / "systemd").iterdir())
SERVICES = [path for path in UNITS if path.suffix == ".service"]
SOCKETS = [path for path in UNITS if path.suffix == ".socket"]
PAGE = "docs/deploy-systemd.md"
# systemd's scale goes from 0 to 10, and its option takes ten times that. "OK" ends at
# 5, a service without any line has 9.6.
EXPOSURE_MAX = 16


def program(name: str) -> str:
    """The path of one of systemd's programs, or of strace. Without it the test is
    skipped; where CI is "true" it fails.
    """
    found = shutil.which(name)
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{name} is not installed")
    return found


def analyze(*arguments: str, directory: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze"), *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def name_of(path: Path) -> str:
    return path.name


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units where systemd-analyze finds them, each starting a program that is
    there.
    """
    for path in UNITS:
        unit = path.read_text("utf-8").replace("/opt/foldlog/bin/foldlog", sys.executable)
        (tmp_path / path.name.replace("@", "@0")).write_text(unit)
        (tmp_path / path.name).write_text(unit)
    return tmp_path


@pytest.mark.component
@pytest.mark.parametrize("path", UNITS, ids=name_of)
def test_systemd_finds_nothing_wrong_with_a_unit(installed: Path, path: Path) -> None:
    found = analyze("verify", "--man=no", f"./{path.name.replace('@', '@0')}", directory=installed)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.component
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ProtectHome=yes", "ProtectHouse=yes"),
        (sys.executable, "/nowhere/foldlog"),
        ("WatchdogSec=60", "WatchdogSec=x"),
    ],
)
def test_systemd_would_find_a_mistake(installed: Path, old: str, new: str) -> None:
    unit = installed / "foldlog.service"
    assert old in unit.read_text()
    unit.write_text(unit.read_text().replace(old, new))
    assert analyze("verify", "--man=no", "./foldlog.service", directory=installed).stderr


@pytest.mark.component
@pytest.mark.parametrize("path", SERVICES, ids=name_of)
def test_unit_leaves_little_exposed(path: Path) -> None:
    def exposed(most: int) -> subprocess.CompletedProcess[str]:
        return analyze("security", "--offline=true", f"--threshold={most}", str(path))

    found = exposed(EXPOSURE_MAX)
    assert found.returncode == 0, found.stdout
    assert exposed(1).returncode != 0  # the threshold is heeded


def settings_of(path: Path) -> Iterator[tuple[str, str]]:
    """The lines of a unit that are no comment, as (name, value)."""
    for line in path.read_text("utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            yield name, value


def value(path: Path, name: str) -> str:
    """The only value that a unit gives a name."""
    (found,) = [value for each, value in settings_of(path) if each == name]
    return found


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(min|)", text).groups()  # type: ignore[union-attr]
    return float(number) * (60 if unit else 1)


def worst_drain_s() -> float:
    """For how long a worker may take to stop: aiohttp gives requests under way its time
    twice.
    """
    return drain.DRAIN_S + 2 * worker.SHUTDOWN_S


@pytest.mark.parametrize("path", SERVICES, ids=name_of)
def test_unit_says_what_the_code_does(path: Path) -> None:
    assert (value(path, "Type"), value(path, "NotifyAccess")) == ("notify", "main")
    assert value(path, "Restart") == "on-failure"
    assert value(path, "RestartPreventExitStatus") == str(exit_codes.USAGE) != str(exit_codes.TRY_AGAIN)
    assert value(path, "ExecReload") == "/bin/kill -HUP $MAINPID"
    assert value(path, "Environment") == "FOLDLOG_DATA_DIR=/var/lib/foldlog"
    assert value(path, "StateDirectory") == "foldlog"
    longest = children.STOP_TIMEOUT_S if path.name == "foldlog.service" else worst_drain_s()
    assert seconds(value(path, "TimeoutStopSec")) > longest
    assert seconds(value(path, "TimeoutStartSec")) >= children.START_TIMEOUT_FACTOR * Settings().worker_timeout
    # A burst that Restart= alone cannot reach: trouble that passes is outlived, however
    # long it lasts.
    rate = seconds(value(path, "StartLimitIntervalSec")) / seconds(value(path, "RestartSec"))
    assert rate < int(value(path, "StartLimitBurst"))
    starts = value(path, "ExecStart").replace("%i", "0").split()
    assert starts[0] == "/opt/foldlog/bin/foldlog"
    assert make_parser().parse_args(starts[1:]).command == starts[1]


def test_serve_alone_is_told_to_stop_and_outlives_a_child_without_memory() -> None:
    (path,) = [path for path in SERVICES if path.name == "foldlog.service"]
    assert (value(path, "KillMode"), value(path, "OOMPolicy")) == ("mixed", "continue")
    assert seconds(value(path, "WatchdogSec")) > Settings().worker_timeout


@pytest.mark.parametrize("path", [path for path in SERVICES if "compact" not in path.name], ids=name_of)
def test_descriptors_are_enough_for_the_connections(path: Path) -> None:
    assert int(value(path, "LimitNOFILE")) >= Settings().max_connections + OTHER_DESCRIPTORS


@pytest.mark.parametrize("path", SOCKETS, ids=name_of)
def test_socket_listens_where_foldlog_would(path: Path) -> None:
    assert value(path, "ListenStream") == ":".join(map(str, Settings().listen))
    assert int(value(path, "Backlog")) == worker.BACKLOG
    assert "Accept" not in dict(settings_of(path))  # no is the default, and the only one that Foldlog takes


def test_services_are_hardened_alike() -> None:
    """What differs is what must: the compactor needs no network, and is killed for
    memory as one process.
    """
    differ = {
        "Description",
        "After",
        "Requires",
        "Conflicts",
        "ExecStart",
        "Sockets",
        "KillMode",
        "WatchdogSec",
        "WatchdogSignal",
    }
    differ |= {"TimeoutStopSec", "LimitNOFILE", "Nice", "RestrictAddressFamilies", "OOMPolicy", "Also"}
    kept = [[pair for pair in settings_of(path) if pair[0] not in differ] for path in SERVICES]
    assert kept[0] == kept[1] == kept[2] and len(kept[0]) > 40


def test_page_and_units_name_the_same_files_and_only_settings_that_exist() -> None:
    text = page(PAGE)
    assert all(f"`{path.name}`" in text for path in UNITS)
    known = {f"FOLDLOG_{field.name.upper()}" for field in fields(Settings)}
    for source in [text, *(path.read_text("utf-8") for path in UNITS)]:
        assert set(re.findall(r"FOLDLOG_[A-Z_]+", source)) <= known
    (environment,) = [block for block in fenced(text, "ini") if "foldlog.env" in block]
    for line in environment.splitlines():
        assert line.startswith("#") or line.partition("=")[0] in known


@cache
def system_calls(group: str) -> frozenset[str]:
    """What a group of systemd's filter stands for."""
    found: set[str] = set()
    for line in analyze("syscall-filter", group).stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            found |= system_calls(name)
        elif name and not name.startswith("#"):
            found.add(name)
    return frozenset(found)


def allowed(path: Path) -> frozenset[str]:
    """The system calls that a unit leaves, by its lines from top to bottom."""
    left: frozenset[str] = frozenset()
    for name, groups in settings_of(path):
        for group in groups.split() if name == "SystemCallFilter" else ():
            left = left - system_calls(group[1:]) if group.startswith("~") else left | system_calls(group)
    return left


class Traced(Activated):
    """A server whose calls of the kernel are written down, with those of its
    children.
    """

    @property
    def record(self) -> Path:
        return self.data.root.parent / "record"

    def command(self) -> list[str]:
        return [program("strace"), "-D", "-f", "-qq", "-o", str(self.record), *super().command()]


@pytest.mark.component
def test_foldlog_asks_the_kernel_for_nothing_that_its_units_forbid(tmp_path: Path) -> None:
    program("systemd-analyze")
    traced = Traced(tmp_path, workers=2, log_file=tmp_path / "messages")
    with traced:
        for _ in range(20):
            assert traced.post([{"name": "pageview", "url": "https://example.com/a"}]).status == 200
        traced.fold()
        for path in ("/admin/api/report", "/admin/api/export", "/admin/api/status", "/admin/"):
            assert traced.get(path).status == 200
        assert traced.request("GET", "/metrics").status == 200
    record = traced.record.read_text("utf-8", "replace")
    made = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", record, re.MULTILINE))
    assert {"fdatasync", "vfork", "accept4", "setpriority"} <= made  # a worker, the reader process: all were traced
    for unit in SERVICES:
        assert made - allowed(unit) == set(), unit.name
        assert not {"mount", "setuid", "chown"} & allowed(unit)
    # MemoryDenyWriteExecute: no memory that is writable becomes executable.
    assert not re.findall(r"^.*PROT_WRITE\|PROT_EXEC.*$", record, re.MULTILINE)
    assert not re.findall(r"^.*mprotect\([^)\n]*PROT_EXEC.*$", record, re.MULTILINE)
    assert set(re.findall(r"\bsocket(?:pair)?\((\w+)", record)) <= {"AF_UNIX", "AF_INET", "AF_INET6"}
    # RestrictNamespaces, RestrictSUIDSGID
    assert not re.findall(r"^.*CLONE_NEW.*$", record, re.MULTILINE)
    assert not re.findall(r"^.*S_IS[UG]ID.*$", record, re.MULTILINE)
