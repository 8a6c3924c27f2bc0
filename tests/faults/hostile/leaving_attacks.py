"""What leaves: cells that a spreadsheet runs, characters that move a terminal."""

from __future__ import annotations

import csv
import io
import os
import pty
import re
import subprocess
import threading
import unicodedata
from contextlib import suppress
from urllib.parse import quote

from tests.faults.hostile.cost import Attack, Cost, Scene
from tests.faults.hostile.fold_attacks import today
from tests.faults.hostile.ground import PASS_S, Ground
from tests.faults.hostile.trial import trial

FORMULAS = (
    "=1+1",
    "a;=1+1",
    "a\t=1+1",
    "\t=1+1",
    "\n=1+1",
    "\r=1+1",
    "\uff1d1+1",
    " =1+1",
    "\ufeff=1+1",
    "@SUM(1)",
    "-1+1",
)
RUNS = re.compile(r"[=+\-@]")
NUMBER = re.compile(r"-?\d+(\.\d+)?")
MOVING = ("\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "\u202egnp.exe", "\u2066hidden\u2069", "a\x08b", "a\rb")
MOVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# What our own tables may send: colours and styles.
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def events_with(texts: tuple[str, ...]) -> list[dict[str, object]]:
    """Each text where a client may put it: campaign, property, path, visitor."""
    return [
        {"name": "a", "url": f"http://a/{quote(text)}?utm_source={quote(text)}", "props": {"k": text}} for text in texts
    ]


def cells(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """Every way by which CSV leaves, read with each separator that a spreadsheet may
    take.
    """
    day = f"from={today()}&to={today()}&bots=include"
    place.post([*events_with(FORMULAS), *events_with(("plain", "two words"))])
    place.fold()
    outputs = {
        "report over HTTP": place.ask(f"/admin/api/report?{day}&by=utm_source&format=csv")[1],
        "properties over HTTP": place.ask(f"/admin/api/report?{day}&by=props.k&format=csv")[1],
        "export over HTTP": place.ask(f"/admin/api/export?from={today()}&to={today()}&format=csv")[1],
        "report of the command": place.command("report", "--by", "utm_source", "--bots", "include", "--csv").stdout,
        "export of the command": place.command("export", "--format", "csv").stdout,
    }
    for name, output in outputs.items():
        text = output.decode("utf-8")
        control.check("plain" in text and "two words" in text, f"{name}: an ordinary value is not there")
        for separator in ",;\t":
            found = sorted({cell for cell in _cells(text, separator) if _is_run(cell)})
            cost.check(not found, f"{name}, separated by {separator!r}: {found[:2]!a}")
    cost.requests, control.requests = len(FORMULAS), 2


def _cells(text: str, separator: str) -> list[str]:
    with suppress(csv.Error):
        return [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) for cell in row]
    return []


def _is_run(cell: str) -> bool:
    """Whether a spreadsheet may take a cell for a formula: numbers are none."""
    bare = unicodedata.normalize("NFKC", cell).lstrip("\ufeff \t\r\n\u00a0")
    return bool(RUNS.match(bare)) and not NUMBER.fullmatch(bare)


def moved_terminals(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """Every command whose output shows what clients sent, on a terminal."""
    place.post([*events_with(MOVING), *events_with(("plain",))])
    place.fold()
    span = ("--from", today(), "--to", today())
    report = ("report", "--by", "props.k", "--bots", "include", *span)
    commands = {
        "report": report,
        "report --csv": (*report, "--csv"),
        "report --json": (*report, "--json"),
        "export": ("export", *span),
        "export --format csv": ("export", "--format", "csv", *span),
        "tail": ("tail",),
        "tail --json": ("tail", "--json"),
        "status": ("status",),
    }
    for name, words in commands.items():
        shown = on_a_terminal(place, words)
        left = sorted({f"U+{ord(found):04X}" for found in MOVES.findall(STYLE.sub("", shown))} - {"U+000D", "U+001B"})
        raw = [text for text in MOVING if text[:3] in STYLE.sub("", shown) and MOVES.search(text[:3])]
        cost.check(not left and not raw, f"{name}: {left} {raw!a}")
        control.check(name == "status" or "plain" in shown, f"{name}: the ordinary value is not shown")
    cost.requests, control.requests = len(MOVING), 1


def on_a_terminal(place: Ground, words: tuple[str, ...]) -> str:
    """What a command writes where standard output is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        place.checkout.command(*words),
        cwd=place.root,
        env=place.environ | {"TERM": "xterm", "COLUMNS": "300"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    ending = threading.Timer(PASS_S, process.kill)
    ending.start()
    found = b""
    with suppress(OSError):  # the other end is closed
        while block := os.read(ours, 65_536):
            found += block
    process.wait()
    ending.cancel()
    os.close(ours)
    return found.decode("utf-8", "replace").replace("\r\n", "\n")


ATTACKS: list[Attack] = [
    trial("cells", "values that a spreadsheet runs, for every separator", "ordinary values", cells),
    trial("terminals", "values that move a terminal: escapes, C1, directions", "an ordinary value", moved_terminals),
]
