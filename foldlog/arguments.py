"""What can be typed: the commands, their options, and the help of each, which fits a
screen. command.py carries them out.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from foldlog import __version__
from foldlog.load import EVENT_NAME
from shared.exit_codes import USAGE
from shared.host_names import SITE

QUERY_OPTIONS = ("from", "to", "tz", "interval", "by", "event", "site", "filter", "limit", "bots")

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
    "token",
    "bench",
    "check-config",
)
EXPORT_FORMATS = ("ndjson", "csv", "parquet")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"foldlog: {message}\nTry: {self.prog} --help\n")


class _OneLineEach(argparse.HelpFormatter):
    """Room for the longest command, so that none needs a line for its name alone."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=18)


def _add_load(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--rate", type=_between(0.1, 100_000), default=100.0, help="requests a second, due at random (default: 100)"
    )
    command.add_argument("--seconds", type=_between(1, 3_600), default=10.0, help="how long (default: 10)")
    command.add_argument(
        "--warm-up", type=_between(0, 600), default=2.0, help="seconds before that, not measured (default: 2)"
    )
    command.add_argument(
        "--events", type=int, choices=range(1, 501), metavar="N", default=1, help="events in each (default: 1)"
    )
    command.add_argument(
        "--connections", type=int, choices=range(1, 4_097), metavar="N", default=128, help="default: 128"
    )
    command.add_argument(
        "--key-file", metavar="FILE", help="a file with the key to write with (default: one of the settings)"
    )
    command.add_argument("--origin", help="write as a page of this origin; the rate limit then holds")
    command.add_argument("--json", action="store_true", help="everything that was measured, as JSON")
    command.add_argument(
        "url", metavar="URL", nargs="?", help="a server on this host (default: that of FOLDLOG_LISTEN)"
    )


def _add_tail(command: argparse.ArgumentParser) -> None:
    command.add_argument("-f", "--follow", action="store_true", help="go on with new events")
    command.add_argument("-n", "--lines", type=_count, default=10, help="how many earlier events first (default: 10)")
    command.add_argument(
        "--event", metavar="NAME", action="append", default=[], help="only this event; again for another"
    )
    command.add_argument(
        "--site", metavar="HOST", action="append", default=[], help="only this site; again for another"
    )
    command.add_argument("--json", action="store_true", help="the lines as they were written")


def _visitor(text: str) -> str:
    """What an event may have as its visitor. Bytes of the command line that are no text
    are none.
    """
    if not text:
        raise argparse.ArgumentTypeError("a visitor id is not empty")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("it is not UTF-8") from None
    return text


def _site(text: str) -> str:
    """A site as events carry it: a host in lower case."""
    if not SITE.fullmatch(text.lower()):
        raise argparse.ArgumentTypeError(f"{text!r} is no host name such as example.com, without scheme, port and path")
    return text.lower()


def _add_retain(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dry-run", action="store_true", help="show what would be deleted and why, and change nothing"
    )
    command.add_argument(
        "--confirm", action="store_true", help="also the deletions on hold, which would remove most of a kind"
    )


def _add_ingest(command: argparse.ArgumentParser) -> None:
    command.add_argument("--writer", default="0", help="name of its segments, one per worker (default: 0)")
    command.add_argument(
        "--rate-table", type=int, default=-1, metavar="FD", help="memory shared with other workers (serve)"
    )
    command.add_argument(
        "--listen-fd", type=int, action="append", default=[], metavar="FD", help="accept from it (serve)"
    )
    _add_supervised(command)


def _add_supervised(command: argparse.ArgumentParser) -> None:
    command.add_argument("--supervised", action="store_true", help="also stop at the end of standard input (serve)")
    command.add_argument("--notify-fd", type=int, default=-1, metavar="FD", help="where signs of life go (serve)")


def _between(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        if not low <= float(text) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low:g} to {high:,g}")
        return float(text)

    return number


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return int(text)


def _duration(text: str) -> float:
    """Seconds, of a number and its unit."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = text[:-1], text[-1:]
    if unit not in units or not re.fullmatch(r"\d{1,6}", number):
        raise argparse.ArgumentTypeError(f"{text} is not a time such as 90s, 30m, 1h or 7d")
    return float(number) * units[unit]


Add = Callable[[str, str], argparse.ArgumentParser]


def make_parser() -> argparse.ArgumentParser:
    """All commands. The help of each fits a screen."""
    parser = _Parser(
        prog="foldlog", description="First-party event analytics in one directory.", formatter_class=_OneLineEach
    )
    parser.add_argument("--version", action="version", version=f"foldlog {__version__}")
    parser.add_argument("--config", metavar="FILE", help="settings in TOML (also FOLDLOG_CONFIG); the environment wins")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, help_: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        command.set_defaults(command=name, supervised=False)
        return command

    _add_services(add)
    _add_reading(add)
    _add_keeping(add)
    _add_moving(add)
    _add_setting_up(add)
    return parser


def _add_services(add: Add) -> None:
    """What runs, and what asks it to do something."""
    add("serve", "run the ingest workers and the compactor until SIGTERM")

    _add_ingest(add("ingest", "run one ingest worker (serve does this for you)"))

    compact = add("compact", "fold sealed segments on schedule, or once")
    compact.add_argument("--once", action="store_true", help="fold what is sealed now and end")
    _add_supervised(compact)

    add("rotate", "ask the writers to seal, and wait until they have")


def _add_reading(add: Add) -> None:
    """What is there, as numbers, as a state, as events."""
    report = add("report", "print a report (docs/reports.md says what each number means)")
    _add_query(report, QUERY_OPTIONS)
    form = report.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as GET /admin/api/report answers")
    form.add_argument("--csv", action="store_true", help="the rows as CSV")

    status = add("status", "show the balance of events, segments, lag and disk")
    status.add_argument("--json", action="store_true", help="as GET /admin/api/status answers")

    doctor = add("doctor", "look at host, data and settings, and say what to type")
    doctor.add_argument("--json", action="store_true", help="every check with its level, for programs")

    _add_tail(add("tail", "show the events of all writers in the order of arrival"))


def _add_keeping(add: Add) -> None:
    """What looks after the data directory."""
    add("verify", "recount everything and compare it with what is published; exit 1 if anything is wrong")

    compress = add("compress", "compress segments that are folded, for every reader as before")
    compress.add_argument("--method", choices=["zstd", "gzip"], default="zstd", help="default: zstd")
    older = "how long ago they were sealed at least, such as 90s, 30m, 1h, 7d (default: 1h)"
    compress.add_argument("--older-than", type=_duration, default=3600.0, metavar="TIME", help=older)

    rebuild_ = add("rebuild", "fold the retained log again and show what changed, day by day")
    rebuild_.add_argument("--dry-run", action="store_true", help="show what would change, and publish nothing")

    _add_retain(add("retain", "delete what is past its retention now, and show what and why"))

    erase = add("erase", "erase one visitor from the log, the archive and the counters, for good")
    erase.add_argument("--visitor", metavar="ID", type=_visitor, required=True, help="the id, as events carry it")
    erase.add_argument("--site", type=_site, help="only events of this site (default: of all)")
    erase.add_argument("--dry-run", action="store_true", help="show what would be erased, and change nothing")
    backup = add("backup", "make a backup of everything that is acknowledged by now, with hard links (docs/backup.md)")
    backup.add_argument("destination", metavar="DEST", help="a new directory on the file system of the data directory")


def _add_moving(add: Add) -> None:
    """What brings events in and out."""
    import_ = add("import", "append the requests of an access log as pageviews; importing twice counts once")
    import_.add_argument("--format", choices=["combined"], default="combined", help="Apache or nginx combined format")
    import_.add_argument("--site", type=_site, help="the site that the log is of (default: the first of FOLDLOG_SITES)")
    import_.add_argument("file", metavar="FILE", help="the access log, plain or .gz")

    export_ = add("export", "write the archived events to standard output")
    _add_query(export_, ("from", "to", "tz"))
    export_.add_argument("--format", choices=EXPORT_FORMATS, default="ndjson", help="default: ndjson")


def _add_setting_up(add: Add) -> None:
    """Tokens, settings, and what they are good for."""
    token = add("token", "make, list and revoke tokens")
    actions = token.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a token and show it once")
    create.add_argument("--scope", choices=["admin", "read", "ingest"], default="admin", help="default: admin")
    actions.add_parser("list", help="list tokens, without their secrets")
    revoke = actions.add_parser("revoke", help="forget a token")
    revoke.add_argument("id", help="as `foldlog token list` shows it")

    help_ = f"load a server on this host with events named {EVENT_NAME}, and compare what it counts"
    _add_load(add("bench", help_))

    add("check-config", "read the settings and show what is in force")


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


def query_parameters(given: argparse.Namespace) -> dict[str, str]:
    """The parameters of a report that were given, by the names that the URL has."""
    options = {name: getattr(given, f"query_{name}", None) for name in QUERY_OPTIONS}
    return {name: value for name, value in options.items() if value is not None}
