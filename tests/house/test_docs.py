"""The pages say what the code does: what the code has and a page does not name, or the
other way round, fails here.

Each claim pairs a section of a page with what the source says must stand there. A
second test takes each name out of the page and sees that the claim notices, so that
none of them can pass by finding nothing.
"""

from __future__ import annotations

import argparse
import ast
import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from multidict import CIMultiDict

from compactor.fold.user_agents import parse_user_agent
from foldlog.arguments import make_parser
from ingest.api.dashboard import files
from ingest.collect import admission, body, consent, native, on_behalf
from ingest.collect.admission import Sender
from ingest.collect.encode import Line
from ingest.collect.event import EVENT_MAX_BYTES, Batch, Event
from ingest.collect.own_traffic import OwnTraffic
from ingest.collect.validate import validate_batch
from ingest.http import body_reader, connection
from ingest.http.problem import Problem
from ingest.routes import ROUTES
from reports.dimensions import UNCOUNTED
from reports.query import PARAMETERS
from shared import exit_codes, rate_table, status
from shared.disk.layout import DataDirectory
from shared.generations import snapshot, summary
from shared.generations.counter_schema import COUNTER_COLUMNS
from shared.schema import DIMENSIONS, LINE_COLUMNS, STORED_COLUMNS
from shared.segments.line import line_error
from shared.settings import Settings
from shared.timestamps import now_ms
from tests.builders.pages import (
    _CODE,
    _FENCED,
    _HEADING,
    PAGES,
    ROOT,
    _blank,
    _texts,
    fenced,
    first_cells,
    first_curl,
    in_code_font,
    page,
    problem_codes,
    rows,
    second_cells,
    section,
)

PACKAGES = ("shared", "ingest", "reports", "web", "compactor", "foldlog")

_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


def commands_and_options(text: str) -> set[str]:
    """`report`, `report --by`, … from a table of commands whose second column holds the
    options.
    """
    found = set()
    for cells in rows(text):
        for command in _CODE.findall(cells[0]):
            found |= {command, *(f"{command} {option}" for option in _CODE.findall(cells[1]))}
    return found


def parser_commands(parser: argparse.ArgumentParser, prefix: str = "") -> Iterator[str]:
    """What argparse knows, named as `commands_and_options` names it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from parser_commands(command, f"{prefix} {name}".strip())
        elif prefix and not isinstance(action, argparse._HelpAction):
            yield from (f"{prefix} {option}" for option in action.option_strings)
    if prefix and not any(isinstance(action, argparse._SubParsersAction) for action in parser._actions):
        yield prefix


def snapshot_fields() -> set[str]:
    top: dict[str, type[msgspec.Struct]] = {
        "totals": snapshot.Totals,
        "last_pass": snapshot.LastPass,
        "retention": snapshot.Retention,
        "days.*": snapshot.Day,
        "summary": summary.Summary,
    }
    plain = {field.name for field in msgspec.structs.fields(snapshot.Snapshot)} - (top.keys() - {"summary"})
    nested = {f"{name}.{field.name}" for name, kind in top.items() for field in msgspec.structs.fields(kind)}
    return plain | nested | {field.name for field in msgspec.structs.fields(snapshot.Part)}


def readiness_checks() -> set[str]:
    """The names of all checks of GET /readyz, whether they stand in a Check or in what
    makes one.
    """
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / "ingest/observe/health.py").read_text("utf-8")))
        if isinstance(node, ast.Call)
    ]
    return {
        name for call in calls if getattr(call.func, "id", "") in {"Check", "_recent"} for name in _texts(call.args[0])
    }


def status_fields() -> set[str]:
    segments = {f"segments.{name}" for name in struct_fields(status.Segments)}
    return (struct_fields(status.Status) - {"segments"}) | segments


def private_files() -> set[str]:
    data = DataDirectory(ROOT)
    found = (getattr(data, name) for name, kind in vars(DataDirectory).items() if isinstance(kind, property))
    paths = [path for path in found if isinstance(path, Path)]
    private = [
        *(path for path in paths if path.parent == data.private),
        data.erasure_request("<request>"),
        data.erasure_order("<request>"),
        data.private / "confirm-<kind>-<first>-<last>-<days>.json",
        data.damaged_tokens("<mark>"),
        data.damaged_shares("<mark>"),
    ]
    return {str(path.relative_to(ROOT)) for path in private}


def limits() -> set[str]:
    """The numbers of the table of limits that no setting changes."""
    return {
        f"{connection.HEAD_TIMEOUT_S:g} s",
        f"{body_reader.BODY_TIMEOUT_S:g} s",
        f"{body_reader.BODY_MIN_RATE >> 10} KiB",
        f"{admission.KEY_BODY_MAX_BYTES >> 20} MiB",
        f"{body._RATIO_MAX} times",
        f"{body._RATIO_FREE_BYTES >> 10} KiB",
        f"{body._MEMBERS_MAX} members",
        f"{body._ZSTD_WINDOW_MAX >> 20} MiB",
        f"{body.DEPTH_MAX} levels",
        f"{body._DEPTH_MALFORMED:,}",
        f"{EVENT_MAX_BYTES:,} bytes",
    }


def numbers(text: str) -> set[str]:
    """Every limit of `limits` that stands in a row of a table."""
    cells = " | ".join(cell for cells in rows(text) for cell in cells[1:])
    return {limit for limit in limits() if re.search(rf"(?<![\d,]){re.escape(limit)}(?!\d)", cells)}


def struct_fields(*kinds: type[msgspec.Struct]) -> set[str]:
    return {field.name for kind in kinds for field in msgspec.structs.fields(kind)}


def rooms() -> set[str]:
    """Every folder of the product that holds a module."""
    inits = (path for name in PACKAGES for path in (ROOT / name).rglob("__init__.py"))
    return {f"{path.parent.relative_to(ROOT)}/" for path in inits}


class Claim(NamedTuple):
    """A section of a page names all of `names` where `find` looks; `exact`: and nothing
    else there.
    """

    page: str
    heading: str
    names: set[str]
    find: Callable[[str], set[str]] = first_cells
    exact: bool = True

    @property
    def where(self) -> str:
        return f"{self.page}, {self.heading}" if self.heading else self.page

    def missing(self, text: str) -> set[str]:
        return self.names - self.find(section(text, self.heading))

    def unknown(self, text: str) -> set[str]:
        return self.find(section(text, self.heading)) - self.names if self.exact else set()


DASHBOARD_FILES = set(files()) - {"index.html"}
CLAIMS = {
    "settings": Claim("docs/settings.md", "", {f"FOLDLOG_{field.name.upper()}" for field in fields(Settings)}),
    "settings in TOML": Claim("docs/settings.md", "", {field.name for field in fields(Settings)}, second_cells),
    "endpoints": Claim(
        "docs/api.md",
        "HTTP and the command",
        {f"{m} {path}" for m, path, _ in ROUTES if path.removeprefix("/admin/") not in DASHBOARD_FILES},
        in_code_font,
        False,
    ),
    "event fields": Claim("docs/api.md", "The body", struct_fields(Event, Batch), exact=False),
    "report parameters": Claim("docs/api.md", "GET /admin/api/report", set(PARAMETERS), exact=False),
    "problems": Claim("docs/api.md", "Problems", problem_codes(), second_cells),
    "commands": Claim("docs/api.md", "The command", set(parser_commands(make_parser())), commands_and_options),
    "options of all commands": Claim("docs/api.md", "The command", {"--config FILE", "--version"}, in_code_font, False),
    "status": Claim("docs/api.md", "GET /admin/api/status", status_fields()),
    "readiness": Claim("docs/api.md", "GET /readyz", readiness_checks()),
    "dimensions": Claim("docs/reports.md", "Dimensions", {*DIMENSIONS, *UNCOUNTED, "props.<key>", "query.<name>"}),
    "log line": Claim("docs/formats.md", "Log lines", {"v", *LINE_COLUMNS, "crc"}),
    "archive": Claim("docs/formats.md", "Archive", set(STORED_COLUMNS)),
    "counters": Claim("docs/formats.md", "Counters", set(COUNTER_COLUMNS)),
    "snapshot": Claim("docs/formats.md", "snapshot.json", snapshot_fields()),
    "private files": Claim("docs/formats.md", "private/", private_files()),
    "what is stored of a visit": Claim("docs/privacy.md", "What is stored of each event", {"v", *LINE_COLUMNS, "crc"}),
    "rooms": Claim("docs/architecture.md", "Reading the source", rooms()),
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_page_names_what_the_source_has(claim: Claim) -> None:
    missing = claim.missing(page(claim.page))
    assert not missing, f"{claim.where}: add {sorted(missing)}"


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_page_names_nothing_that_is_gone(claim: Claim) -> None:
    unknown = claim.unknown(page(claim.page))
    assert not unknown, f"{claim.where}: there is no {sorted(unknown)}"


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_missing_name_is_noticed(claim: Claim) -> None:
    text = page(claim.page)
    assert claim.names
    for name in claim.names:
        assert name in claim.missing(without(text, name)), f"{name} could be taken out of {claim.page} unnoticed"


def without(text: str, name: str) -> str:
    """The page without a name; of `report --by` the option goes, and the command
    stays.
    """
    option = re.search(r" (-\S+)$", name)
    return text.replace(f"`{option[1] if option else name}`", "")


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS.values() if claim.exact and claim.find is first_cells])
def test_invented_name_is_noticed(claim: Claim) -> None:
    text = page(claim.page)
    part = section(text, claim.heading)
    last_row = [line for line in part.splitlines() if line.startswith("|")][-1]
    assert claim.unknown(text.replace(part, part.replace(last_row, f"{last_row}\n| `invented` | | |"))) == {"invented"}


def shown_default(value: object) -> str:
    """A default as docs/settings.md writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple) and value:
        return (":" if isinstance(value[1], int) else "=").join(str(part) for part in value)
    return str(value) if value not in ((), "", None) else "none"


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
def test_default_of_setting_is_the_documented_one(field: Field[Any]) -> None:
    (cells,) = [cells for cells in rows(page("docs/settings.md")) if cells[1] == f"`{field.name}`"]
    shown = _CODE.match(cells[2])
    assert (shown[1] if shown else cells[2]) == shown_default(field.default)
    assert len(cells) == 6


@pytest.mark.parametrize(("heading", "columns"), [("Archive", STORED_COLUMNS), ("Counters", COUNTER_COLUMNS)])
def test_type_of_column_is_the_documented_one(heading: str, columns: dict[str, str]) -> None:
    found = {
        cells[0].strip("`"): cells[1] for cells in rows(section(page("docs/formats.md"), heading)) if "`" in cells[0]
    }
    assert found == columns


# A bad event for each code that docs/api.md gives its field; "" is the event itself.
BAD_EVENTS: dict[str, tuple[str, object]] = {
    "name_missing": ("name", {}),
    "site_type": ("site", {"name": "a", "site": 1}),
    "site_too_short": ("site", {"name": "a", "site": ""}),
    "site_too_long": ("site", {"name": "a", "site": "s" * 256}),
    "site_invalid": ("site", {"name": "a", "site": "a b"}),
    "site_unknown": ("site", {"name": "a", "site": "b.example"}),
    "key_needed": ("site", {"name": "a", "site": "a.example"}),
    "client_type": ("client", {"name": "a", "client": {}}),
    "client_too_short": ("client", {"name": "a", "client": {"address": ""}}),
    "client_too_long": ("client", {"name": "a", "client": {"address": "1" * 65}}),
    "client_invalid": ("client", {"name": "a", "client": {"address": "localhost"}}),
    "excluded_network": ("client", {"name": "a", "client": {"address": "127.0.0.1"}}),
    "name_type": ("name", {"name": 1}),
    "name_too_short": ("name", {"name": ""}),
    "name_too_long": ("name", {"name": "n" * 121}),
    "name_invalid": ("name", {"name": "a\x1b"}),
    "id_type": ("id", {"name": "a", "id": 12345678}),
    "id_too_short": ("id", {"name": "a", "id": "1234567"}),
    "id_too_long": ("id", {"name": "a", "id": "1" * 65}),
    "id_invalid": ("id", {"name": "a", "id": "1234 5678"}),
    "time_type": ("time", {"name": "a", "time": 1.5}),
    "time_invalid": ("time", {"name": "a", "time": "2026-11-22T16:00:00"}),
    "time_out_of_range": ("time", {"name": "a", "time": -1}),
    "too_old": ("time", {"name": "a", "time": 0}),
    "visitor_type": ("visitor", {"name": "a", "visitor": 1}),
    "visitor_too_short": ("visitor", {"name": "a", "visitor": ""}),
    "visitor_too_long": ("visitor", {"name": "a", "visitor": "v" * 101}),
    "visitor_invalid": ("visitor", {"name": "a", "visitor": "v\u202e"}),
    "visitor_junk": ("visitor", {"name": "a", "visitor": "NULL"}),
    "url_type": ("url", {"name": "a", "url": 1}),
    "url_too_short": ("url", {"name": "a", "url": ""}),
    "url_too_long": ("url", {"name": "a", "url": "https://" + "a" * 2000}),
    "url_invalid": ("url", {"name": "a", "url": "/a"}),
    "value_type": ("value", {"name": "a", "value": "1"}),
    "value_out_of_range": ("value", {"name": "a", "value": 10**400}),
    "props_type": ("props", {"name": "a", "props": {"a": []}}),
    "props_too_short": ("props", {"name": "a", "props": {"": 1}}),
    "props_too_long": ("props", {"name": "a", "props": {"a": "a" * 2001}}),
    "props_out_of_range": ("props", {"name": "a", "props": {"a": "HUGE"}}),
    "unknown_field": ("any other", {"name": "a", "titel": "a"}),
    "key_repeated": ("(any key)", {"name": "a", "props": {"a": 1, "AGAIN": 2}}),
    "event_type": ("(the event)", "a"),
    "event_too_large": ("(the event)", {"name": "a", "props": {str(n): "a" * 2000 for n in range(20)}}),
}


LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


def documented_rejections(text: str) -> dict[str, str]:
    """Code → field, from the table of event fields."""
    table = [cells for cells in rows(section(text, "The body")) if len(cells) == 4]
    return {code: cells[0].strip("`") for cells in table for code in _CODE.findall(cells[3])}


@pytest.mark.parametrize(("code", "event"), [(code, event) for code, (_, event) in BAD_EVENTS.items()], ids=BAD_EVENTS)
def test_rejection_is_the_documented_one(code: str, event: object) -> None:
    text = json.dumps({"events": [event]}).replace('"HUGE"', "1e400").replace('"AGAIN"', '"a"')
    decoded = native.decode(text.encode("utf-8"), body.JSON, 1)
    sender = Sender("a.example", code != "key_needed", cross_origin=False, body_max_bytes=0, consent=None)
    validated = validate_batch(decoded.events, now_ms(), None)
    (rejected,) = on_behalf.check(validated, None, sender, ("a.example",), OwnTraffic([LOOPBACK])).rejected
    assert rejected.code == code


def test_every_documented_rejection_is_tried() -> None:
    assert documented_rejections(page("docs/api.md")) == {code: field for code, (field, _) in BAD_EVENTS.items()}


def test_limits_are_the_documented_ones() -> None:
    assert numbers(section(page("docs/api.md"), "Limits")) == limits()
    assert f"{rate_table.WAYS * rate_table.SETS:,} clients" in section(page("docs/api.md"), "The rate limit")


def test_exit_codes_are_documented() -> None:
    found = {int(cells[0]) for cells in rows(section(page("docs/api.md"), "The command")) if cells[0].isdecimal()}
    assert {exit_codes.SUCCESS, exit_codes.PROBLEMS, exit_codes.USAGE, exit_codes.TRY_AGAIN} <= found


def test_promises_are_all_there() -> None:
    promised = [cells[0] for cells in rows(section(page("docs/architecture.md"), "The promises"))]
    assert [name for name in promised if name.startswith("P")] == [f"P{number}" for number in range(1, 14)]


def test_example_of_a_log_line_has_the_right_crc() -> None:
    (example,) = fenced(section(page("docs/formats.md"), "Log lines"), "")
    line = example.replace("\n", "").encode("utf-8") + b"\n"
    assert line_error(line) is None
    assert line_error(line.replace(b"signup", b"signin")) == "the CRC does not match"
    assert [*json.loads(line)] == [*Line.__struct_fields__, "crc"]
    assert {*json.loads(line)} == {"v", *LINE_COLUMNS, "crc"}


def test_example_of_a_snapshot_is_one() -> None:
    (example,) = fenced(section(page("docs/formats.md"), "snapshot.json"), "json")
    decoded = snapshot.decode_snapshot(example.encode("utf-8"), Path("docs/formats.md"))
    assert snapshot.encode_snapshot(decoded).decode("utf-8") == example
    assert decoded.totals.lines == decoded.totals.accounted


def refused(text: str) -> str:
    """Why the first example of a page would not give a visible event against `make
    run`, or nothing.
    """
    curl = first_curl(text)
    try:
        form, sender = admission.admit(CIMultiDict(curl.headers), curl.headers["Host"], None, Settings())
        batch = native.decode(curl.data.encode("utf-8"), form.media_type, Settings().max_events)
        consent.resolve_consent(batch.consent, sender.consent)
    except Problem as refusal:
        return refusal.code
    if validate_batch(batch.events, now_ms(), batch.sent_at).rejected:
        return "rejected"
    host, port = Settings().listen
    if curl.url != f"http://{host}:{port}/v1/events":
        return "address"
    return "bot" if parse_user_agent(curl.headers["User-Agent"]).bot else ""


def test_first_example_works_against_make_run() -> None:
    assert refused(page("README.md")) == ""


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("-A 'Mozilla", "-X 'Mozilla", "bot"),
        ("-H 'Origin:", "-H 'X-Origin:", "origin"),
        ("-H 'Content-Type:", "-H 'X-Content-Type:", "media_type"),
        ('"consent":"granted",', "", "consent"),
        ('"name":"pageview"', '"name":""', "rejected"),
        ("127.0.0.1:8080", "127.0.0.1:8081", "address"),
        ('{"consent"', '{{"consent"', "malformed"),
    ],
    ids=lambda text: text[:20],
)
def test_first_example_would_be_noticed(old: str, new: str, why: str) -> None:
    text = page("README.md")
    assert old in text
    assert refused(text.replace(old, new)) == why


def anchors(text: str) -> set[str]:
    """The fragments that GitHub gives to headings."""
    titles = (match[2] for match in _HEADING.finditer(_FENCED.sub(_blank, text)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(path: Path, text: str) -> list[str]:
    """Relative links of a page that lead nowhere."""
    broken = []
    for link in _LINK.findall(_FENCED.sub(_blank, text)):
        if link.startswith(("http://", "https://")):
            continue
        file, _, fragment = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (fragment and fragment not in anchors(target.read_text("utf-8") if file else text)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    broken = broken_links(path, path.read_text("utf-8"))
    assert not broken, f"{path.relative_to(ROOT)} links to {broken}"


def test_broken_link_is_noticed() -> None:
    text = "# Here\n[a](docs/nowhere.md) [b](docs/api.md#nowhere) [c](#nowhere) [d](#here) [e](docs/api.md#consent)\n"
    assert broken_links(ROOT / "README.md", text) == ["docs/nowhere.md", "docs/api.md#nowhere", "#nowhere"]


def test_pages_are_found() -> None:
    found = {str(path.relative_to(ROOT)) for path in PAGES}
    expected = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "logrotate/README.md"}
    pages = ("api", "architecture", "consent", "formats", "privacy", "reports", "settings")
    assert expected | {f"docs/{name}.md" for name in pages} <= found


_COMMAND = re.compile(
    r"^ *(?:[A-Z_]+=\S* )*(?:\S+/)?foldlog (?:--config \S+ )?([a-z]+(?:-[a-z]+)*(?: [a-z-]+)?)", re.MULTILINE
)
_NAME = re.compile(r"\bFOLDLOG_[A-Z_]*[A-Z]\b")
NO_SETTINGS = {"FOLDLOG_CONFIG"}
NO_COMMANDS = {"migrate"}  # docs/upgrade.md says that there is none


def unknown_names(text: str) -> set[str]:
    return {*_NAME.findall(text)} - {f"FOLDLOG_{field.name.upper()}" for field in fields(Settings)} - NO_SETTINGS


def unknown_commands(text: str) -> set[str]:
    """Commands in code font and in examples that the parser does not know."""
    known = {command for command in parser_commands(make_parser()) if " -" not in command}
    first = {command.split()[0] for command in known}
    code = [*_CODE.findall(_FENCED.sub("", text)), *(fence[2] for fence in _FENCED.finditer(text))]
    typed = {found for each in code for found in _COMMAND.findall(each)}
    return {each for each in typed - NO_COMMANDS if not ({each, each.split()[0]} & known or each in first)}


@pytest.mark.parametrize(
    "path", [path for path in PAGES if path.name != "CHANGELOG.md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_page_names_settings_and_commands_that_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    assert (unknown_names(text), unknown_commands(text)) == (set(), set())


def test_setting_and_command_that_do_not_exist_are_noticed() -> None:
    text = (
        "`FOLDLOG_STORES` and `foldlog store publsh`, `foldlog reprot`\n```sh\nfoldlog shop\nfoldlog store check\n```\n"
    )
    assert unknown_names(text) == {"FOLDLOG_STORES"}
    assert unknown_commands(text) == {"store publsh", "reprot", "shop"}
