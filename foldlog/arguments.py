"""What can be typed: the commands, their options, and the help of each, which fits a
screen.
"""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Callable, Sequence
from typing import NoReturn

from foldlog import __version__
from foldlog.argument_types import between, count, day, duration, site, visitor, whole, zone
from shared.control_chars import escape_controls
from shared.exit_codes import USAGE

KIND_OPTIONS = ("kind", "period", "return", "goal", "steps", "window", "at")
QUERY_OPTIONS = (
    *("from", "to", "tz", "interval", "week", "by", "event", "site", "filter", "limit", "bots"),
    *("measures", "compare", "scope"),
)

COMMANDS = (
    "serve",
    "ingest",
    "compact",
    "rotate",
    "report",
    "status",
    "doctor",
    "tail",
    "verify",
    "compress",
    "rebuild",
    "retain",
    "erase",
    "backup",
    "import",
    "export",
    "store",
    "token",
    "bench",
    "demo",
    "check-config",
)
EXPORT_FORMATS = ("ndjson", "csv", "parquet")

Add = Callable[[str, str], argparse.ArgumentParser]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"foldlog: {escape_controls(message)}\nTry: {self.prog} --help\n")


class _HelpFormatter(argparse.HelpFormatter):
    """Leaves room for the longest command, so that its help starts on the same line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=18)


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = _Parser(
        prog="foldlog", description="First-party event analytics in one directory.", formatter_class=_HelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"foldlog {__version__}")
    parser.add_argument("--config", metavar="FILE", help="settings in TOML (or FOLDLOG_CONFIG); the environment wins")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, help_: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        command.set_defaults(command=name, supervised=False)
        return command

    _add_services(add)
    _add_queries(add)
    _add_maintenance(add)
    _add_import_export(add)
    _add_setup(add)
    return parser


def _add_services(add: Add) -> None:
    """The processes that run, and the request that they seal."""
    add("serve", "run the ingest workers and the compactor until SIGTERM")

    ingest = add("ingest", "run one ingest worker (serve does this for you)")
    ingest.add_argument("--writer", default="0", help="name of its segments, one per worker (default: 0)")
    ingest.add_argument(
        "--rate-table", type=int, default=-1, metavar="FD", help="memory shared with other workers (from serve)"
    )
    ingest.add_argument(
        "--listen-fd", type=int, action="append", default=[], metavar="FD", help="accept from this socket (from serve)"
    )
    _add_supervised(ingest)

    compact = add("compact", "fold sealed segments on schedule, or once")
    once = compact.add_mutually_exclusive_group()
    once.add_argument("--once", action="store_true", help="fold what is sealed now, then end")
    once.add_argument("--retry", action="store_true", help="as --once, and try again what was set aside")
    merge = "only merge this UTC day, whatever its age, and write it in today's format"
    once.add_argument("--merge", type=day, metavar="DAY", help=merge)
    _add_supervised(compact)

    add("rotate", "make the writers seal their segments, and wait for it")


def _add_supervised(command: argparse.ArgumentParser) -> None:
    command.add_argument("--supervised", action="store_true", help="also stop when standard input ends (from serve)")
    command.add_argument("--notify-fd", type=int, default=-1, metavar="FD", help="send heartbeats there (from serve)")


def _add_queries(add: Add) -> None:
    """Numbers, state, events."""
    report = add("report", "print a report (docs/reports.md explains the numbers)")
    report.usage = "foldlog report [options]"
    _add_query(report, (*QUERY_OPTIONS, *KIND_OPTIONS))
    form = report.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as GET /admin/api/report answers")
    form.add_argument("--csv", action="store_true", help="the rows as CSV")
    form.add_argument("--html", action="store_true", help="numbers, chart and tables as a page")
    form.add_argument("--mail", metavar="ADDRESS", help="the same as a mail to this address, for sendmail -t")
    _add_raw(report)

    status = add("status", "show problems, then the balance of events and the disk")
    status.add_argument("--json", action="store_true", help="as GET /admin/api/status answers")

    doctor = add("doctor", "check host, data and settings, and show what to type")
    doctor.add_argument("--json", action="store_true", help="every check with its level, for programs")

    tail = add("tail", "show the events of all writers in the order of arrival")
    tail.add_argument("-f", "--follow", action="store_true", help="continue with new events")
    tail.add_argument("-n", "--lines", type=count, default=10, help="how many earlier events first (default: 10)")
    tail.add_argument("--event", metavar="NAME", action="append", default=[], help="only this event; repeatable")
    tail.add_argument("--site", metavar="HOST", action="append", default=[], help="only this site; repeatable")
    tail.add_argument("--json", action="store_true", help="the lines as they were written")


def _add_raw(command: argparse.ArgumentParser) -> None:
    command.add_argument("--raw", action="store_true", help="CSV for programs: formulas are not made harmless")


def _add_maintenance(add: Add) -> None:
    """Upkeep of the data directory."""
    add("verify", "recount everything and compare; exits 1 if anything is wrong")

    compress = add("compress", "compress folded segments; every reader still reads them")
    compress.add_argument("--method", choices=["zstd", "gzip"], default="zstd", help="default: zstd")
    older = "only segments sealed at least this long ago: 90s, 30m, 1h, 7d (default: 1h)"
    compress.add_argument("--older-than", type=duration, default=3600.0, metavar="TIME", help=older)

    rebuild = add("rebuild", "fold the retained log again and show what changed")
    rebuild.add_argument("--dry-run", action="store_true", help="show what would change, and publish nothing")

    retain = add("retain", "delete what is past its retention now, and show why")
    retain.add_argument("--dry-run", action="store_true", help="show what would be deleted and why, and change nothing")
    retain.add_argument(
        "--confirm", action="store_true", help="also the deletions on hold, which would remove most of a kind"
    )

    erase = add("erase", "erase one visitor from log, archive and counters, for good")
    erase.add_argument("--visitor", metavar="ID", type=visitor, required=True, help="the id, as events carry it")
    erase.add_argument("--site", type=site, help="only events of this site (default: of all)")
    erase.add_argument("--dry-run", action="store_true", help="show what would be erased, and change nothing")

    backup = add("backup", "back up everything acknowledged so far, as hard links")
    backup.add_argument("destination", metavar="DEST", help="a new directory on the file system of the data directory")


def _add_import_export(add: Add) -> None:
    import_ = add("import", "append access logs or exports of other tools; repeats count once")
    formats = "combined, …, a pattern of nginx, goatcounter, umami, matomo, … (default: auto)"
    import_.add_argument("--format", default="auto", help=formats)
    import_.add_argument("--site", type=site, help="the site of the log (default: its hosts, or FOLDLOG_SITES)")
    hosts = "lines of another host: skip (default), keep as a site of its own, count"
    import_.add_argument("--other-hosts", choices=["skip", "keep", "count"], default="skip", help=hosts)
    import_.add_argument("--tz", type=zone, metavar="ZONE", help="of times without one (default: that of the format)")
    import_.add_argument("--source", metavar="NAME", help="which log this is (default: by how it begins)")
    import_.add_argument("--forwarded", action="store_true", help="the visitor is the first of X-Forwarded-For")
    import_.add_argument("--pages-only", action="store_true", help="only pages that were answered: 2xx and 304")
    import_.add_argument("--not-found", action="store_true", help="404 and 410 as events not_found")
    import_.add_argument("--dry-run", action="store_true", help="show what would be appended, and append nothing")
    import_.add_argument("--strict", action="store_true", help="end with 1 if a line is not understood")
    import_.add_argument("file", metavar="FILE", nargs="+", help="plain or compressed, a glob, or - (standard input)")

    export = add("export", "write the archived events to standard output")
    _add_query(export, ("from", "to", "tz", "site", "scope"))
    export.add_argument("--format", choices=EXPORT_FORMATS, default="ndjson", help="default: ndjson")
    _add_raw(export)


def _add_setup(add: Add) -> None:
    """Tokens, load, settings."""
    token = add("token", "create, list and revoke tokens")
    actions = token.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="create a token and show it once")
    create.add_argument("--scope", choices=["admin", "read", "ingest", "pixel"], default="admin", help="default: admin")
    sites = "only this site; several times for several (default: all). Of a pixel: whose event it is"
    create.add_argument("--site", metavar="HOST", action="append", help=sites)
    create.add_argument(
        "--use", metavar="NAME[/CAMPAIGN]", help="of a pixel: the name of its event, such as mail_open/may"
    )
    actions.add_parser("list", help="list tokens, without their secrets")
    revoke = actions.add_parser("revoke", help="revoke a token")
    revoke.add_argument("id", help="as `foldlog token list` shows it")

    store = add("store", "see, fill and check the store of FOLDLOG_STORE")
    steps = store.add_subparsers(dest="action", metavar="ACTION", required=True)
    steps.add_parser("status", help="which generation it holds")
    publish = steps.add_parser("publish", help="publish the newest generation now")
    publish.add_argument(
        "--from",
        dest="from_store",
        metavar="ADDRESS",
        help="also what retired instances have in this PostgreSQL store, to ClickHouse",
    )
    migrate = steps.add_parser("migrate", help="make the tables of a PostgreSQL store, as the role that will own them")
    migrate.add_argument("--dry-run", action="store_true", help="show the SQL, and change nothing")
    steps.add_parser("takeover", help="make an empty directory continue the instance of FOLDLOG_INSTANCE")
    steps.add_parser("restore", help="fill a directory that stands behind the store again, and keep what only it has")
    steps.add_parser("check", help="compare every row with the parts; exits 1 if one differs")
    steps.add_parser("rebuild", help="publish everything again in the place of what it has")
    retire = steps.add_parser("retire", help="give up an instance whose host is gone: what it published counts on")
    retire.add_argument("instance", type=uuid.UUID, metavar="INSTANCE", help="as `foldlog store status` shows it")
    absorb = steps.add_parser("absorb", help="take over what a retired instance has published, into this directory")
    absorb.add_argument("instance", type=uuid.UUID, metavar="INSTANCE", help="as `foldlog store status` shows it")
    steps.add_parser("new-instance", help="give a copied directory an identity of its own")

    _add_bench(add("bench", "put load on a server of this host and check its counts"))

    _add_demo(add("demo", "try Foldlog with made-up traffic, and leave nothing behind"))

    add("check-config", "read the settings and show what is in force")


def _add_bench(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--rate", type=between(0.1, 100_000), default=100.0, help="requests a second, due at random (default: 100)"
    )
    p99 = "end with 1 unless --rate was reached, p99 was at most this, and all acknowledged is counted"
    command.add_argument("--p99", type=between(0.001, 600_000), metavar="MS", help=p99)
    spike = "a tenth of the run has this many times the rate; p99 is judged outside of it"
    command.add_argument("--spike", type=between(1, 1_000), metavar="N", help=spike)
    command.add_argument("--seconds", type=between(1, 3_600), default=10.0, help="how long (default: 10)")
    command.add_argument(
        "--warm-up", type=between(0, 600), default=2.0, help="seconds before that, not measured (default: 2)"
    )
    command.add_argument(
        "--events", type=int, choices=range(1, 501), metavar="N", default=1, help="events per request (default: 1)"
    )
    command.add_argument(
        "--connections", type=int, choices=range(1, 4_097), metavar="N", default=128, help="default: 128"
    )
    command.add_argument(
        "--key-file", metavar="FILE", help="a file with the key to write with (default: one of the settings)"
    )
    command.add_argument("--origin", help="write as a page of this origin; the rate limit then applies")
    command.add_argument("--json", action="store_true", help="all measurements as JSON")
    command.add_argument(
        "url", metavar="URL", nargs="?", help="a server on this host (default: that of FOLDLOG_LISTEN)"
    )


def _add_demo(command: argparse.ArgumentParser) -> None:
    days = "days of traffic up to now (default: 90)"
    command.add_argument("--days", type=whole(1, 365), default=90, metavar="N", help=days)
    seed = "the same seed makes the same visitors (default: 1)"
    command.add_argument("--seed", type=whole(0, 2**53), default=1, metavar="N", help=seed)
    port = "on 127.0.0.1 (default: 8080, or another one if that is taken)"
    command.add_argument("--port", type=whole(1, 65_535), metavar="N", help=port)
    command.add_argument("--keep", metavar="DIR", help="a new directory that stays when the demo ends")


_QUERY_HELP = {
    "kind": "live, cohorts, funnel, paths or goals; else counts",
    "period": "of cohorts: day, week or month (default: week)",
    "return": "of cohorts: conditions that a returning event has",
    "goal": "of goals: only this one",
    "steps": "of a funnel, such as 'path==/pricing;;event==signup'",
    "at": "of paths: the page that others are before and after",
    "window": "of a funnel: days from first to last step (7d), or visit",
    "from": "first date or instant (default: six days before --to)",
    "to": "last date, inclusive, or instant (default: today)",
    "tz": "time zone of dates (default: FOLDLOG_TIMEZONE)",
    "interval": "none, 15m, hour, day, week, month, quarter or year",
    "week": "monday or sunday: when it begins (default: monday)",
    "by": "a dimension (path, country, ...) or props.<key>",
    "event": "only events of this name",
    "site": "only this site",
    "filter": "conditions such as 'path==/a;country!=DE'",
    "limit": "how many values at most (default: 100)",
    "bots": "exclude, include or only",
    "compare": "previous (the time before) or year (a year before)",
    "measures": "such as events,value_sum (default: events,visitors)",
    "scope": "all: over all hosts of the store; host: this directory",
}


def _add_query(command: argparse.ArgumentParser, names: Sequence[str]) -> None:
    for name in names:
        command.add_argument(f"--{name}", dest=f"query_{name}", metavar=name.upper(), help=_QUERY_HELP[name])


def query_parameters(given: argparse.Namespace) -> dict[str, str]:
    """The query parameters that were typed, under the names that the URL has."""
    options = {name: getattr(given, f"query_{name}", None) for name in (*QUERY_OPTIONS, *KIND_OPTIONS)}
    return {name: value for name, value in options.items() if value is not None}
