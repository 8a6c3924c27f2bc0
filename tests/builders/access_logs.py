"""Lines of access logs, and imports of them in the process of the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from foldlog.importers.block_parser import BlockParser, Rules, Shape
from foldlog.importers.detect import detect
from foldlog.importers.import_log import FUTURE_MAX_MS, Request, import_files
from foldlog.importers.inputs import inputs
from foldlog.importers.outcome import REASONS, Imported
from foldlog.importers.site_choice import OtherHosts, SiteChoice
from foldlog.importers.w3c import sections
from shared.disk.layout import DataDirectory
from shared.segments.sealed import readable_lines, sealed_segments
from shared.settings import Settings
from shared.timestamps import now_ms
from tests.builders.logs import data_directory
from tests.builders.silent_log import SilentLog

SITE = "example.com"
UA = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0"
TIME = "22/Nov/2026:09:00:00 +0000"


def combined(
    address: str = "198.51.100.7",
    request: str = "GET / HTTP/1.1",
    *,
    time: str = TIME,
    status: int = 200,
    referrer: str = "-",
    agent: str = UA,
) -> str:
    return f'{address} - - [{time}] "{request}" {status} 5120 "{referrer}" "{agent}"'


def written(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(f"{each}\n" for each in lines), "utf-8", errors="surrogateescape")
    return path


def nothing(_position: int) -> None:
    """A progress without a terminal."""


def import_logs(
    root: Path | DataDirectory,
    *files: Path | str,
    format_: str = "auto",
    site: str | None = SITE,
    sites: tuple[str, ...] = (),
    other_hosts: OtherHosts = "skip",
    zone: str = "UTC",
    settings: Settings | None = None,
    progress: Callable[[int], None] = nothing,
    **options: Any,
) -> Imported:
    """Import files into the data directory below `root`."""
    data = root if isinstance(root, DataDirectory) else data_directory(root / "data")
    rules = {
        name: options.pop(name) for name in ("pages_only", "not_found", "forwarded", "own_traffic") if name in options
    }
    choice = SiteChoice(site, sites, other_hosts)
    request = Request(
        format_, Rules(choice, options.pop("latest_ms", now_ms() + FUTURE_MAX_MS), ZoneInfo(zone), **rules), **options
    )
    used = settings or Settings(data_dir=data.root, disk_reserve=0)
    return asyncio.run(import_files(inputs([str(each) for each in files]), request, data, used, SilentLog(), progress))


class TakenApart(NamedTuple):
    """Events as JSON, and how many lines each reason has."""

    events: list[dict[str, Any]]
    counts: list[int]


def take_apart(text: str, format_: str = "auto", rules: Rules | None = None) -> TakenApart:
    """What becomes of lines, without a data directory."""
    used = rules or Rules(SiteChoice(SITE, ()), now_ms() + FUTURE_MAX_MS, ZoneInfo("UTC"))
    parser = BlockParser(used)
    found = detect(parser, text.split("\n"), format_)
    shapes = [(text, found)] if found else [(part, Shape(each)) for _, part, each in sections(text, None) if each]
    parsed = [parser.parse(part, shape, "source") for part, shape in shapes]
    events = [json.loads(b'{"id":"%b}' % event) for each in parsed for event in each.events]
    return TakenApart(events, [sum(each.counts[why][0] for each in parsed) for why in range(len(REASONS) - 1)])


def events_of(root: Path | DataDirectory) -> list[dict[str, Any]]:
    """All events in sealed segments, in order."""
    data = root if isinstance(root, DataDirectory) else DataDirectory(root / "data")
    return [json.loads(line) for segment in sealed_segments(data) for line in readable_lines(segment.path)]


def counted(root: Path | DataDirectory) -> int:
    """How many events count: by their ids."""
    return len({(event["site"], event["id"]) for event in events_of(root)})
