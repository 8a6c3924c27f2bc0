"""The command line: what is asked for, and which function does it. Each command is one small function below."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import duckdb
import msgspec
import orjson
from rich.console import Console

from compactor.commit import CommitLost, CompactorBusy
from compactor.rebuild import rebuild
from compactor.schedule import compact_once, run_compactor
from compactor.verify import verify
from foldlog import __version__, bench, show, tail
from foldlog.exits import DONE, TRY_AGAIN, USAGE, WRONG
from foldlog.generator import EVENT_NAME
from foldlog.import_combined import import_combined
from foldlog.log import configure_log, get_log, keep_open
from foldlog.serve import AddressInUse, AlreadyServed, serve
from ingest import table
from ingest.export import FORMATS, export
from ingest.keyring import TokensDamaged, create_token, load_tokens, revoke_token
from ingest.query import QueryError, parse
from ingest.report import make_report
from ingest.server import run_worker
from ingest.status import read_status
from ingest.writer import Unavailable
from shared.engine import connect
from shared.layout import DataDirectory
from shared.line import DataFromNewerVersion
from shared.parts import PartDamaged
from shared.publish import make_data_directory
from shared.recovery import WriterAlive
from shared.requests import NobodyAnswered, seal_now
from shared.settings import CONFIG_FILE, Settings, SettingsError, load
from shared.snapshot import SnapshotDamaged
from shared.snapshot import load as load_snapshot
from shared.timestamps import now_ms

ROTATE_TIMEOUT_S = 10.0
QUERY_OPTIONS = ("from", "to", "tz", "interval", "by", "event", "site", "filter", "limit", "bots")

Arguments = argparse.Namespace
Command = Callable[[Arguments, Settings, DataDirectory], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 done, 1 found wrong, 2 usage or configuration, 75 try again."""
    given = make_parser().parse_args(arguments)
    try:
        settings = load(os.environ, Path(given.config) if given.config else None)
        command: Command = given.run
        output = configure_log(settings)
        if command in SERVICES:
            keep_open(output, supervised=given.supervised)
        return command(given, settings, DataDirectory(settings.data_dir))
    except (SettingsError, QueryError, SnapshotDamaged, PartDamaged, TokensDamaged, DataFromNewerVersion) as error:
        return _complain(str(error), USAGE)
    except (AlreadyServed, AddressInUse, Unavailable, CompactorBusy, CommitLost, WriterAlive, NobodyAnswered) as error:
        return _complain(str(error), TRY_AGAIN)
    except bench.BenchError as error:
        return _complain(str(error), TRY_AGAIN)
    except duckdb.OutOfMemoryException:
        return _complain(
            "not enough memory: ask for less, or raise FOLDLOG_REPORT_MEMORY (FOLDLOG_FOLD_MEMORY for the fold)",
            TRY_AGAIN,
        )
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return DONE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        return _complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", TRY_AGAIN)


def _complain(message: str, code: int) -> int:
    print(f"foldlog: {message}", file=sys.stderr)
    return code


def run_serve(given: Arguments, settings: Settings, _data: DataDirectory) -> int:
    return serve(settings, given.config, get_log("serve"))


def run_ingest(given: Arguments, settings: Settings, _data: DataDirectory) -> int:
    if not re.fullmatch("[a-z0-9_]{1,32}", given.writer):
        raise SettingsError("--writer takes a-z, 0-9 and _")
    log = get_log("ingest")
    return run_worker(settings, given.writer, log, supervised=given.supervised, rate_table=given.rate_table)


def run_compact(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    log = get_log("compact")
    if not given.once:
        return run_compactor(settings, log, supervised=given.supervised)
    compact_once(data, settings, log)
    return DONE


def run_rotate(_given: Arguments, _settings: Settings, data: DataDirectory) -> int:
    seal_now(data, ROTATE_TIMEOUT_S)
    return DONE


def run_report(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    query = parse(_query_options(given), datetime.now(UTC), settings.timezone)
    with contextlib.closing(connect(settings.report_memory, 2)) as database:
        report = make_report(database, _existing(data), load_snapshot(data), query)
    if given.json or given.csv:
        sys.stdout.buffer.write(table.encode_report(report, "json" if given.json else "csv"))
        return DONE
    show.report(Console(), report)
    return DONE


def run_status(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    status = read_status(_existing(data), settings)
    if given.json:
        print(orjson.dumps(status, option=orjson.OPT_INDENT_2).decode("utf-8"))
    else:
        show.status(Console(), status)
    return DONE


def run_tail(given: Arguments, _settings: Settings, data: DataDirectory) -> int:
    def write(lines: list[bytes]) -> None:
        for line in lines:
            sys.stdout.write(line.decode("utf-8") if given.json else tail.readable(line) + "\n")
        sys.stdout.flush()

    looks = tail.follow(_existing(data), given.lines)
    write(next(looks))
    if given.follow:
        for lines in looks:
            write(lines)
    return DONE


def run_verify(_given: Arguments, settings: Settings, data: DataDirectory) -> int:
    console = Console(stderr=True)
    with show.steps(console) as progress:
        verified = verify(_existing(data), settings, progress)
    show.verified(Console(), verified)
    return WRONG if verified.findings else DONE


def run_rebuild(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    changes = rebuild(_existing(data), settings, get_log("rebuild"), now_ms(), dry_run=given.dry_run)
    show.changes(Console(), changes, dry_run=given.dry_run)
    return DONE


def run_import(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    site = given.site or (settings.sites[0] if settings.sites else None)
    if site is None:
        raise SettingsError("the log does not say which site it is from: give --site example.com")
    make_data_directory(data)
    file = Path(given.file)
    if not file.is_file():
        raise SettingsError(f"there is no file {file}")
    with show.bytes_done(Console(stderr=True), file.stat().st_size) as progress:
        done = import_combined(file, site, data, settings, get_log("import"), progress)
    print(f"{done.lines} lines: {done.events} events appended, {done.skipped} other requests, {done.unreadable} not understood")
    return DONE


def run_export(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    query = parse(_query_options(given), datetime.now(UTC), settings.timezone)
    if given.format == "parquet" and sys.stdout.isatty():
        raise QueryError("format", "parquet is not for a terminal; redirect it to a file")
    with (
        tempfile.TemporaryDirectory(prefix="foldlog-export-") as spill,
        contextlib.closing(connect(settings.report_memory, 2, Path(spill))) as database,
    ):
        export(database, data, load_snapshot(data), query, given.format, sys.stdout.buffer)
    return DONE


def run_token(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    make_data_directory(data)
    if given.action == "create":
        token, secret = create_token(data, given.scope)
        print(f"{secret}\n(id {token.id}, scope {token.scope}; shown once, only its hash is kept)")
        return DONE
    if given.action == "revoke":
        if not revoke_token(data, given.id):
            return _complain(f"there is no token with id {given.id}; `foldlog token list` shows them", USAGE)
        return DONE
    show.tokens(Console(), load_tokens(data), from_settings=bool(settings.admin_token or settings.ingest_keys))
    return DONE


def run_bench(given: Arguments, settings: Settings, _data: DataDirectory) -> int:
    key = Path(given.key_file).read_text("utf-8").strip() if given.key_file else None
    target = bench.make_target(given.url, key, given.origin, settings)
    options = {"warm_up_s": given.warm_up, "events": given.events, "connections": given.connections}
    plan = bench.make_plan(target, [given.rate], given.seconds, **options)
    count = int(given.rate * (given.seconds + given.warm_up) * given.events)
    said = (
        f"writes about {count:,} events named {EVENT_NAME} to {target.url}; they are counted there, and nothing takes them out"
    )
    print(f"foldlog: {said}", file=sys.stderr)
    result = bench.run(target, plan)
    if given.json:
        print(msgspec.json.encode(result).decode("utf-8"))
    else:
        show.pairs(Console(), bench.summary(plan, result))
    return WRONG if result.is_lossy else DONE


def run_check_config(_given: Arguments, settings: Settings, _data: DataDirectory) -> int:
    show.settings(Console(), settings)
    return DONE


# What runs until it is stopped. The other commands end with the terminal they were typed in.
SERVICES: tuple[Command, ...] = (run_serve, run_ingest, run_compact)


def _existing(data: DataDirectory) -> DataDirectory:
    if not data.log.is_dir():
        raise SettingsError(f"{data.root} is no data directory of Foldlog; set FOLDLOG_DATA_DIR, or start `foldlog serve`")
    return data


def _query_options(given: Arguments) -> dict[str, str]:
    return {name: value for name in QUERY_OPTIONS if (value := getattr(given, f"query_{name}", None)) is not None}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"foldlog: {message}\nTry: {self.prog} --help\n")


def _add_load(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--rate", type=_between(0.1, 100_000), default=100.0, help="requests a second, due at random (default: 100)"
    )
    command.add_argument("--seconds", type=_between(1, 3_600), default=10.0, help="how long (default: 10)")
    command.add_argument("--warm-up", type=_between(0, 600), default=2.0, help="seconds before that, not measured (default: 2)")
    command.add_argument(
        "--events", type=int, choices=range(1, 501), metavar="N", default=1, help="events in each (default: 1)"
    )
    command.add_argument("--connections", type=int, choices=range(1, 4_097), metavar="N", default=128, help="default: 128")
    command.add_argument("--key-file", metavar="FILE", help="a file with the key to write with (default: one of the settings)")
    command.add_argument("--origin", help="write as a page of this origin; the rate limit then holds")
    command.add_argument("--json", action="store_true", help="everything that was measured, as JSON")
    command.add_argument("url", metavar="URL", nargs="?", help="a server on this host (default: that of FOLDLOG_LISTEN)")


def _between(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        if not low <= float(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low:g} to {high:,g}")
        return float(text)

    return number


def make_parser() -> argparse.ArgumentParser:
    """All commands. The help of each fits a screen."""
    parser = _Parser(prog="foldlog", description="First-party event analytics in one directory.")
    parser.add_argument("--version", action="version", version=f"foldlog {__version__}")
    parser.add_argument("--config", metavar="FILE", help=f"settings in TOML (also {CONFIG_FILE}); the environment wins")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, run: Command, help_: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        command.set_defaults(run=run, supervised=False)
        return command

    add("serve", run_serve, "run the ingest workers and the compactor until SIGTERM")

    ingest = add("ingest", run_ingest, "run one ingest worker (serve does this for you)")
    ingest.add_argument("--writer", default="0", help="name of its segments, one per worker (default: 0)")
    ingest.add_argument("--supervised", action="store_true", help="also stop at the end of standard input")
    ingest.add_argument("--rate-table", type=int, default=-1, metavar="FD", help="memory shared with other workers (serve)")

    compact = add("compact", run_compact, "fold sealed segments on schedule, or once")
    compact.add_argument("--once", action="store_true", help="fold what is sealed now and end")
    compact.add_argument("--supervised", action="store_true", help="also stop at the end of standard input")

    add("rotate", run_rotate, "ask the writers to seal their segments, and wait until they have")

    report = add("report", run_report, "print a report (docs/reports.md says what each number means)")
    _add_query(report, QUERY_OPTIONS)
    form = report.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as GET /admin/api/report answers")
    form.add_argument("--csv", action="store_true", help="the rows as CSV")

    status = add("status", run_status, "show the balance of events, segments, lag and disk")
    status.add_argument("--json", action="store_true", help="as GET /admin/api/status answers")

    tail_ = add("tail", run_tail, "show the events of all writers in the order of arrival")
    tail_.add_argument("-f", "--follow", action="store_true", help="go on with new events")
    tail_.add_argument("-n", "--lines", type=int, default=10, help="how many earlier events first (default: 10)")
    tail_.add_argument("--json", action="store_true", help="the lines as they were written")

    add("verify", run_verify, "recount everything and compare it with what is published; exit 1 if anything is wrong")

    rebuild_ = add("rebuild", run_rebuild, "fold the retained log again and show what changed, day by day")
    rebuild_.add_argument("--dry-run", action="store_true", help="show what would change, and publish nothing")

    import_ = add("import", run_import, "append the requests of an access log as pageviews; importing twice counts once")
    import_.add_argument("--format", choices=["combined"], default="combined", help="Apache or nginx combined format")
    import_.add_argument("--site", help="the site that the log is of (default: the first of FOLDLOG_SITES)")
    import_.add_argument("file", metavar="FILE", help="the access log, plain or .gz")

    export_ = add("export", run_export, "write the archived events to standard output")
    _add_query(export_, ("from", "to", "tz"))
    export_.add_argument("--format", choices=list(FORMATS), default="ndjson", help="default: ndjson")

    token = add("token", run_token, "make, list and revoke tokens")
    actions = token.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a token and show it once")
    create.add_argument("--scope", choices=["admin", "read", "ingest"], default="admin", help="default: admin")
    actions.add_parser("list", help="list tokens, without their secrets")
    revoke = actions.add_parser("revoke", help="forget a token")
    revoke.add_argument("id", help="as `foldlog token list` shows it")

    help_ = f"load a server on this host with events named {EVENT_NAME}, and compare what it counts"
    _add_load(add("bench", run_bench, help_))

    add("check-config", run_check_config, "read the settings and show what is in force")
    return parser


_QUERY_HELP = {
    "from": "first date (2026-11-22) or instant (2026-11-22T16:00:00Z); default: six days before --to",
    "to": "last date, inclusive, or instant; default: today",
    "tz": "time zone of dates and intervals (default: FOLDLOG_TIMEZONE)",
    "interval": "none, 15m, hour, day, week or month",
    "by": "a dimension (path, referrer, country, ...) or props.<key>",
    "event": "only events of this name",
    "site": "only this site",
    "filter": "conditions such as 'path==/a;country!=DE'",
    "limit": "how many values at most (default: 100)",
    "bots": "exclude, include or only",
}


def _add_query(command: argparse.ArgumentParser, names: Sequence[str]) -> None:
    for name in names:
        command.add_argument(f"--{name}", dest=f"query_{name}", metavar=name.upper(), help=_QUERY_HELP[name])
