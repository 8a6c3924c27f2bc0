"""The command line: each command is one small function below. What can be typed is in options.py."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import msgspec
import orjson
from rich.console import Console

from compactor.backup import BackupRefused, backup, leftovers
from compactor.compress import compress
from compactor.erasure.footprint import Sought
from compactor.erasure.rewrite import look
from compactor.generations.commit import CommitLost, CompactorBusy
from compactor.process import Compactor, compact_once, erase_now, run_compactor
from compactor.repair.directory_check import CopyIncomplete
from compactor.repair.rebuild import rebuild
from compactor.repair.verify import verify
from compactor.retention.command import plan_only, retain_now
from foldlog import tail, terminal
from foldlog.arguments import QUERY_OPTIONS, make_parser
from foldlog.doctor.examine import examine
from foldlog.doctor.file_systems import NetworkFileSystem
from foldlog.importers.combined import import_combined
from foldlog.load import run
from foldlog.load.generator import EVENT_NAME
from foldlog.preflight import check_start
from foldlog.processes import find_running
from foldlog.supervisor.children import WATCHDOG_SHARE
from foldlog.supervisor.serve import AddressInUse, AlreadyServed, serve
from foldlog.supervisor.socket_activation import inherited_sockets
from ingest.http.auth import TokensDamaged, create_token, load_tokens, revoke_token
from ingest.wal.commit_queue import Unavailable
from ingest.worker import Start, run_worker
from reports import encode
from reports.export import export
from reports.query import QueryError, parse
from reports.report import make_report
from shared.disk.control_files import NobodyAnswered, seal_now
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.duckdb_engine import connect
from shared.erasures import ask, record_of
from shared.exit_codes import DONE, TRY_AGAIN, USAGE, WRONG
from shared.generations.archive_schema import PartDamaged
from shared.generations.consistent_read import SweptAway, of_published
from shared.generations.snapshot import SnapshotDamaged
from shared.log import configure_log, get_log, keep_open, say_reloading
from shared.segments.line import DataFromNewerVersion
from shared.segments.recovery import WriterAlive
from shared.settings import Settings, SettingsError, load
from shared.status import read_status
from shared.systemd_notify import Notifier, from_descriptor, from_environment
from shared.timestamps import now_ms

ROTATE_TIMEOUT_S = 10.0

CANNOT_BE_USED = (
    SettingsError,
    QueryError,
    SnapshotDamaged,
    PartDamaged,
    CopyIncomplete,
    BackupRefused,
    TokensDamaged,
    DataFromNewerVersion,
    NetworkFileSystem,
)

Arguments = argparse.Namespace
Command = Callable[[Arguments, Settings, DataDirectory], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 done, 1 found wrong, 2 usage or configuration, 75 try again."""
    given = make_parser().parse_args(arguments)
    data: DataDirectory | None = None
    try:
        settings = load(os.environ, Path(given.config) if given.config else None)
        output = configure_log(settings)
        if given.command in SERVICES:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # it asks to seal: whoever has nothing to seal does not end by it
            keep_open(output, supervised=given.supervised)
        data = DataDirectory(settings.data_dir)
        _look_before(given.command, data)
        return COMMANDS[given.command](given, settings, data)
    except CANNOT_BE_USED as error:
        return _complain(str(error), USAGE)
    except (AlreadyServed, AddressInUse, Unavailable, CompactorBusy, CommitLost, WriterAlive, NobodyAnswered) as error:
        return _complain(str(error), TRY_AGAIN)
    except (run.BenchError, SweptAway) as error:
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
        return _complain(_what_the_system_said(error, data), TRY_AGAIN)


def _what_the_system_said(error: OSError, data: DataDirectory | None) -> str:
    """With whose files they are, where the data directory may not be read or written."""
    said = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    if error.errno == errno.EACCES and data and Path(str(error.filename)).is_relative_to(data.root):
        return f"{said}; run this as the user that Foldlog runs as. `foldlog doctor` says more"
    return said


def _look_before(command: str, data: DataDirectory) -> None:
    """Raises what keeps a command from this data directory, before it has touched anything."""
    if command not in ELSEWHERE and data.root.exists() and not data.root.is_dir():
        raise SettingsError(f"{data.root} is no directory; set FOLDLOG_DATA_DIR")
    if command in WRITERS:
        check_start(data)


def _complain(message: str, code: int) -> int:
    print(f"foldlog: {message}", file=sys.stderr)
    return code


def run_serve(given: Arguments, settings: Settings, _data: DataDirectory) -> int:
    sockets = inherited_sockets(os.environ, os.getpid())
    return serve(settings, given.config, sockets, from_environment(os.environ, os.getpid()), get_log("serve"))


def run_ingest(given: Arguments, settings: Settings, _data: DataDirectory) -> int:
    if not re.fullmatch("[a-z0-9_]{1,32}", given.writer):
        raise SettingsError("--writer takes a-z, 0-9 and _")
    sockets = inherited_sockets(os.environ, os.getpid(), given.listen_fd)
    start = Start(given.supervised, given.rate_table, sockets, _notifier(given, settings))
    return run_worker(settings, given.writer, get_log("ingest"), start)


def run_compact(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    log = get_log("compact")
    if not given.once:
        return run_compactor(settings, log, _notifier(given, settings), supervised=given.supervised)
    make_data_directory(data)
    Compactor(data, settings, log).begin()
    compact_once(data, settings, log)
    return DONE


def _notifier(given: Arguments, settings: Settings) -> Notifier:
    """What hears how a worker or a compactor is: `serve`, or systemd, which also wants to know when SIGHUP has been heeded."""
    if given.notify_fd >= 0:
        return from_descriptor(given.notify_fd, settings.worker_timeout * WATCHDOG_SHARE)
    notifier = from_environment(os.environ, os.getpid())
    say_reloading(notifier)
    return notifier


def run_rotate(_given: Arguments, _settings: Settings, data: DataDirectory) -> int:
    seal_now(_existing(data), ROTATE_TIMEOUT_S)
    return DONE


def run_compress(given: Arguments, _settings: Settings, data: DataDirectory) -> int:
    with terminal.steps(Console(stderr=True), "compressing") as progress:
        done = compress(_existing(data), given.method, given.older_than, now_ms(), progress)
    terminal.compressed(Console(soft_wrap=True), done)
    return DONE


def run_report(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    query = parse(_query_options(given), datetime.now(UTC), settings.timezone)
    with contextlib.closing(connect(settings.report_memory, 2)) as database:
        report = of_published(_existing(data), lambda snapshot: make_report(database, data, snapshot, query))
    if given.json or given.csv:
        sys.stdout.buffer.write(encode.encode_report(report, "json" if given.json else "csv"))
        return DONE
    terminal.report(Console(), report)
    return DONE


def run_status(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    status = read_status(_existing(data), settings)
    if given.json:
        print(orjson.dumps(status, option=orjson.OPT_INDENT_2).decode("utf-8"))
    else:
        terminal.status(Console(), status, find_running(data), settings)
    return DONE


def run_tail(given: Arguments, _settings: Settings, data: DataDirectory) -> int:
    wanted = tail.Wanted(frozenset(given.event), frozenset(site.lower() for site in given.site))
    follower = tail.Follower(_existing(data), wanted)
    printer = tail.Printer(as_written=given.json)
    with terminal.patience(Console(stderr=True), "looking back through the log; Ctrl-C ends it") as progress:
        last = follower.last(given.lines, progress)
    printer.write(last, follower.left_out)
    while given.follow:
        tail.wait_for_more()
        printer.write(tail.received_order(follower.look()), follower.left_out)
    return DONE


def run_doctor(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    found = examine(data, settings)
    if given.json:
        sys.stdout.buffer.write(orjson.dumps([finding._asdict() for finding in found], option=orjson.OPT_INDENT_2) + b"\n")
    else:
        terminal.findings(Console(), found)
    return WRONG if any(finding.level == "wrong" for finding in found) else DONE


def run_verify(_given: Arguments, settings: Settings, data: DataDirectory) -> int:
    console = Console(stderr=True)
    with terminal.steps(console) as progress:
        verified = verify(_existing(data), settings, progress)
    terminal.verified(Console(), verified)
    return WRONG if verified.findings else DONE


def run_rebuild(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    changes = rebuild(_existing(data), settings, get_log("rebuild"), now_ms(), dry_run=given.dry_run)
    terminal.changes(Console(), changes, dry_run=given.dry_run)
    return DONE


def run_erase(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    if given.dry_run:
        found = look(_existing(data), settings, Sought(given.visitor, given.site))
        terminal.would_erase(Console(), found)
        return DONE
    asked = ask(_existing(data), given.visitor, given.site)
    try:
        erase_now(data, settings, get_log("erase"))
    except CompactorBusy as error:
        return _complain(f"{error}. It has been asked to erase, and will: `foldlog status` shows what is pending", TRY_AGAIN)
    begun, done = record_of(data, asked.request)
    if begun is None or done is None:
        return _complain("a segment that is still open holds the visitor; the next pass after it is sealed erases", TRY_AGAIN)
    terminal.erased(Console(), begun, done)
    return DONE


def run_retain(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    if given.dry_run:
        plan = plan_only(_existing(data), settings, now_ms(), is_confirmed=given.held)
    else:
        plan = retain_now(_existing(data), settings, get_log("retain"), now_ms, is_confirmed=given.held)
    terminal.expiring(Console(), plan, settings, dry_run=given.dry_run)
    return TRY_AGAIN if plan.skipped and not given.dry_run else DONE


def run_backup(given: Arguments, _settings: Settings, data: DataDirectory) -> int:
    made = backup(_existing(data), Path(given.destination), get_log("backup"))
    terminal.backed_up(Console(), made, leftovers(made.path))
    return DONE


def run_import(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    site = given.site or (settings.sites[0] if settings.sites else None)
    if site is None:
        raise SettingsError("the log does not say which site it is from: give --site example.com")
    file = Path(given.file)
    if not file.is_file():
        raise SettingsError(f"there is no file {file}")
    _made(data)
    with terminal.bytes_done(Console(stderr=True), file.stat().st_size) as progress:
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
        of_published(_existing(data), lambda snapshot: export(database, data, snapshot, query, given.format, sys.stdout.buffer))
    return DONE


def run_token(given: Arguments, settings: Settings, data: DataDirectory) -> int:
    if given.action == "create":
        token, secret = create_token(_made(data), given.scope)
        print(f"{secret}\n(id {token.id}, scope {token.scope}; shown once, only its hash is kept)")
        return DONE
    if given.action == "revoke":
        if not revoke_token(_existing(data), given.id):
            return _complain(f"there is no token with id {given.id}; `foldlog token list` shows them", USAGE)
        return DONE
    terminal.tokens(Console(), load_tokens(_existing(data)), from_settings=bool(settings.admin_token or settings.ingest_keys))
    return DONE


def run_bench(given: Arguments, settings: Settings, _data: DataDirectory) -> int:
    key = Path(given.key_file).read_text("utf-8").strip() if given.key_file else None
    target = run.make_target(given.url, key, given.origin, settings)
    options = {"warm_up_s": given.warm_up, "events": given.events, "connections": given.connections}
    plan = run.make_plan(target, [given.rate], given.seconds, **options)
    count = int(given.rate * (given.seconds + given.warm_up) * given.events)
    said = (
        f"writes about {count:,} events named {EVENT_NAME} to {target.url}; they are counted there, and nothing takes them out"
    )
    print(f"foldlog: {said}", file=sys.stderr)
    result = run.run(target, plan)
    if given.json:
        print(msgspec.json.encode(result).decode("utf-8"))
    else:
        terminal.pairs(Console(), run.summary(plan, result))
    return WRONG if result.is_lossy else DONE


def run_check_config(_given: Arguments, settings: Settings, _data: DataDirectory) -> int:
    terminal.settings(Console(), settings)
    return DONE


def _existing(data: DataDirectory) -> DataDirectory:
    if not data.log.is_dir():
        raise SettingsError(f"{data.root} is no data directory of Foldlog; set FOLDLOG_DATA_DIR, or start `foldlog serve`")
    return data


def _made(data: DataDirectory) -> DataDirectory:
    """The data directory, also before the first start. Who typed it in the wrong place would see nothing of it but success."""
    is_new = not data.log.is_dir()
    make_data_directory(data)
    if is_new:
        print(f"foldlog: {data.root.resolve()} is a new data directory; for another one set FOLDLOG_DATA_DIR", file=sys.stderr)
    return data


def _query_options(given: Arguments) -> dict[str, str]:
    return {name: value for name in QUERY_OPTIONS if (value := getattr(given, f"query_{name}", None)) is not None}


COMMANDS: dict[str, Command] = {
    "serve": run_serve,
    "ingest": run_ingest,
    "compact": run_compact,
    "rotate": run_rotate,
    "compress": run_compress,
    "report": run_report,
    "status": run_status,
    "tail": run_tail,
    "doctor": run_doctor,
    "verify": run_verify,
    "rebuild": run_rebuild,
    "erase": run_erase,
    "retain": run_retain,
    "backup": run_backup,
    "import": run_import,
    "export": run_export,
    "token": run_token,
    "bench": run_bench,
    "check-config": run_check_config,
}
# What runs until it is stopped. The other commands end with the terminal they were typed in.
SERVICES = {"serve", "ingest", "compact"}
# What looks at no data directory.
ELSEWHERE = {"bench", "check-config"}
# What adds to the data directory: not where it cannot be relied on, nor to what a newer Foldlog made.
WRITERS = {"serve", "ingest", "compact", "compress", "import", "rebuild", "retain", "erase", "backup"}
