"""The Containerfile against the source, without an engine: docs/deploy-container.md
says what was built, and with what.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path

import pytest

from foldlog.arguments import make_parser
from foldlog.supervisor.children import STOP_TIMEOUT_S
from shared.settings import Settings, load
from tests.builders.pages import ROOT, page
from tests.builders.server import Server
from tests.builders.waiting import TIMEOUT_S

pytestmark = pytest.mark.long

FILE = (ROOT / "Containerfile").read_text("utf-8")
PAGE = "docs/deploy-container.md"
STAGES = 2


def instructions() -> list[tuple[str, str]]:
    """(instruction, the rest) of the whole file, with broken lines joined."""
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in FILE.splitlines() if not line.startswith("#")))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def last(name: str) -> str:
    """What holds for the image: that of the last stage."""
    return [rest for each, rest in instructions() if each == name][-1]


def copied() -> set[str]:
    """What is taken from the source tree."""
    words = (rest.split()[:-1] for name, rest in instructions() if name == "COPY" and not rest.startswith("--from"))
    return {word for each in words for word in each}


def is_ignored(path: str) -> bool:
    """As .containerignore has it: the last line that fits decides."""
    ignored = False
    for line in (ROOT / ".containerignore").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            if any(fnmatch(part, pattern) for part in (path, path.partition("/")[0], Path(path).name)):
                ignored = not line.startswith("!")
    return ignored


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    assert copied()
    for name in copied():
        assert (ROOT / name).exists() and not is_ignored(name), name


def test_everything_that_the_package_is_made_of_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert packages | {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]} <= copied()


def test_nothing_else_gets_into_the_build() -> None:
    for name in (
        "data",
        ".git",
        ".venv",
        "tests",
        "foldlog.toml",
        ".env",
        "data/private/salt.json",
        "foldlog/__pycache__",
    ):
        assert is_ignored(name), name


def test_image_runs_as_nobody_who_matters() -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last("USER"))
    uid = last("USER").partition(":")[0]
    assert f"--uid {uid}" in FILE and f"-o {uid}" in FILE and f"user {uid}" in page(PAGE)
    assert [name for name, _ in instructions()].index("USER") > [name for name, _ in instructions()].index("COPY")


def test_base_can_be_chosen_for_both_stages() -> None:
    assert [rest.split()[0] for name, rest in instructions() if name == "FROM"] == ["${BASE}"] * STAGES
    assert next(instruction for instruction in instructions())[0] == "ARG"
    assert "--require-hashes --no-deps --requirement locks/service.lock" in FILE


def variables() -> dict[str, str]:
    return dict(re.findall(r"(FOLDLOG_\w+)=(\S+)", last("ENV")))


def test_variables_are_settings_and_the_data_is_in_the_volume() -> None:
    found = load(variables())
    assert json.loads(last("VOLUME")) == [str(found.data_dir)] == [last("WORKDIR")]
    assert last("EXPOSE") == str(found.listen[1]) and found.listen[0] == "0.0.0.0"  # noqa: S104
    known = {f"FOLDLOG_{field.name.upper()}" for field in fields(Settings)}
    assert set(re.findall(r"FOLDLOG_[A-Z_]+", page(PAGE))) <= known


def test_image_serves_and_is_stopped_as_serve_expects() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["foldlog"]
    assert make_parser().parse_args(json.loads(last("CMD"))).command == "serve"
    assert last("STOPSIGNAL") == "SIGTERM"
    patience = re.search(r"--stop-timeout (\d+)", page(PAGE))
    assert patience and int(patience[1]) > STOP_TIMEOUT_S


def health(environ: dict[str, str]) -> int:
    """The exit code of the health check, which Docker and podman run inside."""
    command = json.loads(last("HEALTHCHECK").partition(" CMD ")[2])
    return subprocess.run(command, env=environ, capture_output=True, timeout=TIMEOUT_S, check=False).returncode


def test_health_check_tells_a_server_from_none(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert health(server.environ) == 0
        server.stop()
        assert health(server.environ) == 1
        server.start()
