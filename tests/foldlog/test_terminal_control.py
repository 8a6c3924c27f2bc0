"""No command writes a character that moves a terminal, whatever stands in the archive,
in names of files, or in what was typed. Each command of foldlog/arguments.py has its
rows; one without a row fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from foldlog.arguments import COMMANDS
from shared.control_chars import CONTROL_CHARS
from shared.disk.layout import DataDirectory
from tests.builders.command import run_here
from tests.builders.logs import FIREFOX, NOON, data_directory, fold_all, line, sealed
from tests.builders.server import environment
from tests.builders.terminals import HOSTILE, harm, on_terminal

PAYLOAD = f"=1{HOSTILE}"
SPAN = ["--from", "2026-11-20", "--to", "2026-11-24"]
# In names of files: DuckDB takes a directory `a=1` for the value of a column.
NAME = HOSTILE.replace("/", "")


class World(NamedTuple):
    """A data directory full of hostile values, and files with hostile names beside."""

    environ: Mapping[str, str]
    data: DataDirectory
    beside: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    beside = tmp_path_factory.mktemp("hostile")
    data = data_directory(beside / f"data{NAME}")
    utm = "&".join(f"utm_{key}={quote(PAYLOAD)}" for key in ("source", "medium", "campaign"))
    fields: dict[str, Any] = {
        "visitor": PAYLOAD,
        "session": PAYLOAD,
        "url": f"https://example.com/{PAYLOAD}?{utm}",
        "referrer": f"https://{PAYLOAD}/",
        "ua": f"{FIREFOX} {PAYLOAD}",
        "props": {"k": PAYLOAD, PAYLOAD: 1},
        "name": PAYLOAD,
        "site": PAYLOAD,
        "language": PAYLOAD,
        "country": PAYLOAD,
    }
    sealed(data, [line(f"e-{PAYLOAD}-{number}", **fields) for number in range(3)])
    fold_all(data, NOON)
    sealed(data, [line("later", **fields)])
    (data.log / f"0{NAME}.ndjson").write_text(f"{PAYLOAD}\n")
    (data.log / f"active-0.ndjson{NAME}").write_text(f"{PAYLOAD}\n")
    (data.archive / f"{NAME}.parquet").write_text(PAYLOAD)
    (data.root / f"{NAME}.json").write_text(PAYLOAD)
    (beside / f"log{NAME}").write_text(f"{PAYLOAD}\n")
    (beside / f"config{NAME}").write_text(f'"{NAME!r}" = [')
    yield World(environment(data.root), data, beside)


# What is typed; {beside} and {hostile} are filled in. In this order, for some change
# the directory.
ROWS: list[list[str]] = [
    ["report", *SPAN],
    ["report", *SPAN, "--json", "--by", "event"],
    *[["report", *SPAN, "--by", by] for by in ("event", "path", "utm_source", "referrer", "props.k", "site")],
    *[["report", *SPAN, "--bots", "include", "--by", "utm_campaign", "--csv", *raw] for raw in ([], ["--raw"])],
    ["report", "--by", "{hostile}"],
    ["report", "--tz", "{hostile}"],
    ["report", "--filter", "{hostile}"],
    ["report", "--{hostile}"],
    ["status"],
    ["status", "--json"],
    ["doctor"],
    ["doctor", "--json"],
    ["tail", "-n", "20"],
    ["tail", "-n", "20", "--json"],
    ["tail", "-n", "{hostile}"],
    ["verify"],
    ["compress", "--older-than", "{hostile}"],
    ["compress", "--older-than", "0s"],
    ["export", *SPAN],
    ["export", *SPAN, "--format", "csv"],
    ["export", *SPAN, "--format", "csv", "--raw"],
    ["export", *SPAN, "--format", "parquet"],
    ["import", "--site", "example.com", "{beside}/log{name}"],
    ["import", "--site", "example.com", "{beside}/missing{name}"],
    ["import", "--site", "{hostile}", "x"],
    ["erase", "--visitor", "{hostile}", "--dry-run"],
    ["erase", "--visitor", "{hostile}"],
    ["retain", "--dry-run"],
    ["rebuild", "--dry-run"],
    ["backup", "{beside}/backup{name}"],
    ["backup", "{beside}/log{name}"],
    ["rotate"],
    ["store", "status"],
    ["store", "retire", "{hostile}"],
    ["token", "list"],
    ["token", "create", "--scope", "read"],
    ["token", "revoke", "{hostile}"],
    ["bench", "http://{hostile}/"],
    ["bench", "--key-file", "{hostile}"],
    ["demo", "--days", "{hostile}"],
    ["report", *SPAN, "--html"],
    ["report", *SPAN, "--mail", "team@example.com"],
    ["report", "--mail", "{hostile}"],
    ["check-config"],
    ["--config", "{beside}/config{name}", "check-config"],
    ["--config", "{beside}/missing{name}", "status"],
    ["compact", "--once"],
    ["compact", "--merge", "{hostile}"],
    ["ingest", "--writer", "{hostile}"],
    ["serve", "--{hostile}"],
    ["{hostile}"],
]


def filled(row: list[str], world: World) -> list[str]:
    return [
        word.replace("{beside}", str(world.beside)).replace("{name}", NAME).replace("{hostile}", PAYLOAD)
        for word in row
    ]


def test_each_command_has_a_row() -> None:
    assert set(COMMANDS) <= {word for row in ROWS for word in row[:3]}


def test_values_are_hostile_before_they_are_shown(world: World) -> None:
    made = run_here(["report", *SPAN, "--by", "utm_source", "--csv", "--raw"], world.environ).stdout
    assert set(HOSTILE) <= set(made)
    assert harm(HOSTILE) == CONTROL_CHARS.findall(HOSTILE)


PIPED = [
    row
    for row in ROWS
    if row[0] in {"report", "status", "doctor", "export", "import", "verify"} and not {"--raw", "parquet"} & {*row}
]


@pytest.mark.parametrize("row", PIPED, ids=lambda row: " ".join(row))
def test_no_text_in_a_pipe_moves_the_terminal_behind_it(world: World, row: list[str]) -> None:
    done = run_here(filled(row, world), world.environ)
    assert harm(done.stdout) == harm(done.stderr) == []


def test_json_in_a_pipe_is_whole(world: World) -> None:
    done = run_here(["report", *SPAN, "--by", "utm_source", "--json"], world.environ)
    assert [row["value"] for row in json.loads(done.stdout)["rows"]] == [PAYLOAD]


@pytest.mark.long
@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row))
def test_no_command_moves_a_terminal(world: World, row: list[str]) -> None:
    typed = filled(row, world)
    shown = on_terminal(typed, world.environ)
    assert harm(shown) == []
    assert "Traceback" not in shown


@pytest.mark.parametrize("name", ["TIMEZONE", "LISTEN", "LOG_FILE", "STORE", "SITES"])
def test_no_setting_moves_a_terminal(world: World, name: str) -> None:
    assert harm(on_terminal(["check-config"], {**world.environ, f"FOLDLOG_{name}": PAYLOAD})) == []
