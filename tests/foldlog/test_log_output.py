"""Messages: one JSON line each, nothing of a client's unescaped, kept across a
rotation, and never a reason to stop.
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from shared.disk.layout import DataDirectory
from tests.builders.command import run_here
from tests.builders.logs import line, sealed
from tests.builders.processes import family, opened
from tests.builders.server import Server, environment, run_foldlog
from tests.builders.waiting import TIMEOUT_S, until

EVENT = {"name": "pageview", "visitor": "visitor-1", "url": "https://example.com/a"}

# A process that logs as a command does; what it says follows.
PROGRAM = """
import logging, os, resource, sys, threading
from foldlog.log_output import keep_open, open_log
from shared.settings import load
log = open_log(load(os.environ), "test")
"""


@pytest.mark.long
def test_each_line_is_an_event_with_level_time_and_component(tmp_path: Path) -> None:
    file = tmp_path / "foldlog.log"
    with Server(tmp_path, log_file=file, workers=2) as server:
        server.post([EVENT])
        server.fold()
        printed = server.stderr()
    said = messages(file)
    assert {each["component"] for each in said} == {"serve", "ingest", "compact"}
    assert {"child_started", "worker_listening", "segment_sealed", "pass_folded", "supervisor_stopped"} <= {
        each["event"] for each in said
    }
    for each in said:
        assert each["level"] in {"info", "warning", "error"}
        assert datetime.fromisoformat(each["timestamp"]).tzinfo is not None
    assert file.stat().st_mode & 0o777 == 0o640 & ~umask()
    assert "/admin/" in printed and '"event"' not in printed


@pytest.mark.long
def test_hangup_moves_every_process_to_the_new_file(tmp_path: Path) -> None:
    file, old = tmp_path / "foldlog.log", tmp_path / "foldlog.log.1"
    with Server(tmp_path, log_file=file, workers=2) as server:
        until(lambda: events(file).count("worker_listening") == 2)
        for _ in range(10):
            server.post([EVENT])
        server.fold()
        before = family(server)
        rotate(server, file, old)
        # No request, no fold: an idle worker has to notice, too.
        until(lambda: all(opened(pid) == {file} for pid in before.values()))
        told = old.read_bytes()
        for _ in range(10):
            server.post([EVENT])
        server.fold()
        os.kill(before["ingest-0"], signal.SIGKILL)
        until(lambda: "worker_listening" in events(file))
        assert {"serve", "ingest", "compact"} == {each["component"] for each in messages(file)}
        assert {"segment_sealed", "pass_folded", "child_exited", "child_started"} <= set(events(file))
        assert old.read_bytes() == told
        assert server.post([EVENT]).status == 200
        server.fold()
    assert sum(each["lines"] for each in messages(old, file) if each["event"] == "segment_sealed") == 21


@pytest.mark.long
def test_lines_of_several_processes_neither_mix_nor_get_lost_while_files_are_renamed(tmp_path: Path) -> None:
    file = tmp_path / "foldlog.log"
    program = """
import itertools, select
keep_open(log, supervised=False)
stop, said = threading.Event(), []
print("ready", flush=True)
os.read(0, 1)
def say():
    for number in itertools.count():
        if stop.is_set():
            return said.append(number)
        log.info("said", by=threading.get_native_id(), number=number, padding="x" * (number % 900))
        if threading.current_thread() is threading.main_thread() and select.select([0], [], [], 0)[0]:
            stop.set()
thread = threading.Thread(target=say)
thread.start()
say()
thread.join()
print(sum(said))
"""
    running = [start(program, tmp_path, log_file=file) for _ in range(3)]
    for process in running:
        assert process.stdout and process.stdout.readline() == b"ready\n"
    for process in running:
        assert process.stdin
        process.stdin.write(b".")
        process.stdin.flush()
    for rotation in range(10):
        file.rename(tmp_path / f"foldlog.log.{rotation}")
        for process in running:
            process.send_signal(signal.SIGHUP)
        until(lambda: all([opened(process.pid) == {file} for process in running]))
    printed = b"".join([process.communicate(timeout=TIMEOUT_S)[0] for process in running])
    assert [process.returncode for process in running] == [0, 0, 0]
    said = messages(*tmp_path.glob("foldlog.log*"))
    assert len({(each["by"], each["number"]) for each in said}) == len(said) == sum(map(int, printed.split()))


@pytest.mark.long
def test_hangup_without_a_file_ends_no_process(tmp_path: Path) -> None:
    with Server(tmp_path, workers=2) as server:
        until(lambda: server.stderr().count('"event":"worker_listening"') == 2)
        before = family(server)
        assert set(before) == {"serve", "ingest-0", "ingest-1", "compact"}
        for _ in range(3):
            for pid in before.values():
                os.kill(pid, signal.SIGHUP)
            time.sleep(0.2)
        assert server.post([EVENT]).status == 200
        server.fold()
        assert family(server) == before
        assert '"event":"child_exited"' not in server.stderr()


@pytest.mark.long
def test_hangup_before_a_child_handles_it_does_not_end_the_child(tmp_path: Path) -> None:
    file = tmp_path / "foldlog.log"
    with Server(tmp_path, log_file=file) as server:
        os.kill(family(server)["ingest-0"], signal.SIGKILL)
        until(lambda: events(file).count("child_started") == 3)
        again = [each["pid"] for each in messages(file) if each["event"] == "child_started"][-1]
        os.kill(again, signal.SIGHUP)  # it has just begun to import
        until(lambda: events(file).count("worker_listening") == 2)
        assert family(server)["ingest-0"] == again
        assert events(file).count("child_exited") == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_level_silences_what_is_below(tmp_path: Path, level: str, heard: list[str]) -> None:
    said = say(
        '[getattr(log, level)("said") for level in ("debug", "info", "warning", "error")]', tmp_path, log_level=level
    )
    assert [each["level"] for each in said] == heard


@pytest.mark.long
def test_level_error_of_a_service(tmp_path: Path) -> None:
    file = tmp_path / "foldlog.log"
    with Server(tmp_path, log_file=file, log_level="error") as server:
        server.post([EVENT])
        server.fold()
        assert messages(file) == []
        os.kill(family(server)["ingest-0"], signal.SIGKILL)
        until(lambda: events(file) == ["child_exited"])


def test_control_characters_are_always_escaped(tmp_path: Path) -> None:
    hazards = [*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
    text = "".join(map(chr, hazards)) + 'Ä"\\'
    done = run(f"log.info('said', **{{'text': {text!r}, {text!r}: 1}}, list=[{text!r}])", environment(tmp_path))
    raw = done.stderr.decode("utf-8")
    assert raw.endswith("\n") and not {chr(code) for code in hazards} & set(raw[:-1])
    (said,) = [json.loads(each) for each in raw.splitlines()]
    assert (said["text"], said[text], said["list"]) == (text, 1, [text])


@pytest.mark.long
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("os.fsdecode(b'caf\\xe9')", "caf\\udce9"),
        ("{'agent': '\\ud800'}", "{'agent': '\\ud800'}"),
        ("2**70", str(2**70)),
        ("Path('/tmp/x')", "/tmp/x"),  # noqa: S108
        ("b'bytes'", "b'bytes'"),
        ("OSError(28, 'full')", "[Errno 28] full"),
        ("Path(os.fsdecode(b'/caf\\xe9'))", "/caf\\udce9"),
        ("float('nan')", None),
        ("Broken()", "<Broken>"),
    ],
)
def test_value_without_a_json_form_becomes_text(tmp_path: Path, value: str, said: str | None) -> None:
    broken = "from pathlib import Path\nclass Broken:\n def __str__(self): raise RuntimeError('no')\n"
    (found,) = say(broken + f"log.info('said', value={value}, number=1)", tmp_path)
    assert (found["event"], found["value"], found["number"]) == ("said", said, 1)


def test_library_warning_has_its_kind_and_place_and_no_value(tmp_path: Path) -> None:
    program = """
try:
    raise ConnectionError("192.0.2.1")
except ConnectionError:
    logging.getLogger("aiohttp.server").exception("Error handling request from %s", "192.0.2.1")
logging.getLogger("asyncio").warning("Task failed\\nfuture: <192.0.2.1>")
logging.getLogger("asyncio").info("nothing new")
"""
    failed, warned = say(program, tmp_path)
    assert failed["component"] == "aiohttp.server" and failed["error"].startswith("ConnectionError at ")
    assert (warned["component"], warned["level"], warned["message"]) == ("asyncio", "warning", "Task failed")
    assert "192.0.2.1" not in str((failed, warned))


def test_terminal_gets_text_without_control_characters(tmp_path: Path) -> None:
    outside, inside = pty.openpty()
    start("log.info('said', agent='a\\x1b[2Jb\\u202ec')", tmp_path, stderr=inside).communicate(timeout=TIMEOUT_S)
    os.close(inside)
    words = os.read(outside, 1 << 16).decode("utf-8")
    os.close(outside)
    assert "said" in words and "component" in words and not words.startswith("{")
    assert "a\\u001b[2Jb\\u202ec" in words


@pytest.mark.long
def test_log_goes_to_standard_error_when_the_disk_is_full(tmp_path: Path) -> None:
    with Server(tmp_path, log_file="/dev/full") as server:
        assert server.post([EVENT]).status == 200
        server.fold()
    # Not before it stopped: `folded` is said after the snapshot is there, which the
    # fold's answer waits for.
    said = [json.loads(each)["event"] for each in server.stderr().splitlines() if each.startswith("{")]
    assert {"child_started", "worker_listening", "segment_sealed", "pass_folded"} <= set(said)


def test_half_a_line_on_a_full_disk_costs_no_other_line(tmp_path: Path) -> None:
    file = tmp_path / "foldlog.log"
    program = """
for number in range(4):
    if number == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(os.environ["FOLDLOG_LOG_FILE"]).st_size + 20, -1))
    if number == 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    log.info("said", number=number)
"""
    done = run(program, environment(tmp_path, log_file=file))
    assert (done.returncode, [json.loads(each)["number"] for each in done.stderr.splitlines()]) == (0, [1, 2])
    first, torn, last = file.read_bytes().splitlines()
    assert len(torn) == 20
    assert [json.loads(each)["number"] for each in (first, last)] == [0, 3]
    run('log.info("said", number=4)', environment(tmp_path, log_file=file))
    assert file.read_bytes().splitlines()[:3] == [first, torn, last]


def test_half_a_line_of_an_earlier_process_costs_no_other_line(tmp_path: Path) -> None:
    file = tmp_path / "foldlog.log"
    file.write_bytes(b'{"event":"cut off by a pow')
    run('log.info("said")', environment(tmp_path, log_file=file))
    torn, last = file.read_bytes().splitlines()
    assert torn.endswith(b"pow") and json.loads(last)["event"] == "said"


def test_closed_standard_error_is_no_error(tmp_path: Path) -> None:
    program = PROGRAM + "log.info('said')"
    command = ["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, program]
    assert subprocess.run(command, env=environment(tmp_path), check=False).returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("command", [["serve"], ["ingest"], ["compact", "--once"]])
def test_unusable_log_file_ends_a_service_with_2(tmp_path: Path, command: list[str]) -> None:
    missing = tmp_path / "missing" / "foldlog.log"
    refused = run_foldlog(command, environment(tmp_path / "data", log_file=missing))
    assert refused.returncode == 2
    assert "FOLDLOG_LOG_FILE" in refused.stderr and str(missing) in refused.stderr and "No such file" in refused.stderr
    a_directory = run_foldlog(command, environment(tmp_path / "data", log_file=tmp_path))
    assert a_directory.returncode == 2 and "Is a directory" in a_directory.stderr


def test_command_without_log_lines_does_not_create_the_file(tmp_path: Path) -> None:
    """Run by root, it would make a file that the service cannot write to; run by a
    reader, it would be refused for nothing.
    """
    file = tmp_path / "foldlog.log"
    assert run_here(["check-config"], environment(tmp_path / "data", log_file=file)).returncode == 0
    assert not file.exists()


def test_command_with_an_unusable_log_file_still_does_its_work(tmp_path: Path) -> None:
    said = say('log.info("said")\nlog.info("again")', tmp_path, log_file=tmp_path / "missing" / "foldlog.log")
    assert [each["event"] for each in said] == ["log_file_not_opened", "said", "again"]


@pytest.mark.long
def test_removed_log_directory_stops_no_process(tmp_path: Path) -> None:
    file = tmp_path / "messages" / "foldlog.log"
    file.parent.mkdir()
    with Server(tmp_path, log_file=file) as server:
        before = family(server)
        shutil.rmtree(file.parent)
        server.running.send_signal(signal.SIGHUP)
        os.kill(before["ingest-0"], signal.SIGKILL)  # a worker that starts without its file serves all the same
        until(lambda: '"event":"worker_listening"' in server.stderr())
        assert "log_file_not_opened" in server.stderr()
        assert server.post([EVENT]).status == 200
        server.fold()
        file.parent.mkdir()
        server.running.send_signal(signal.SIGHUP)
        until(lambda: file.exists() and all(opened(pid) == {file} for pid in family(server).values()))


@pytest.mark.long
def test_command_logs_to_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "foldlog.log"
    environ = environment(tmp_path / "data", log_file=file)
    run_here(["token", "create"], environ)
    sealed(DataDirectory(tmp_path / "data"), [line("event-1")])
    done = run_foldlog(["compact", "--once"], environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pass_folded" in events(file)


def start(program: str, directory: Path, stderr: int | None = None, **settings: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + program],
        env=environment(directory, **settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def run(program: str, environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", PROGRAM + program]
    return subprocess.run(command, env=environ, stderr=subprocess.PIPE, timeout=60, check=False)


def say(program: str, directory: Path, **settings: object) -> list[dict[str, Any]]:
    """What a process says on standard error; it must end well."""
    done = run(program, environment(directory, **settings))
    assert done.returncode == 0, done.stderr
    return [json.loads(each) for each in done.stderr.splitlines()]


def messages(*files: Path) -> list[dict[str, Any]]:
    """Every line of these files, each of which must be JSON; one that is being written
    is for the next look.
    """
    contents = [file.read_bytes() for file in files if file.exists()]
    return [json.loads(each) for content in contents for each in content.rpartition(b"\n")[0].splitlines()]


def events(file: Path) -> list[str]:
    return [each["event"] for each in messages(file)]


def rotate(server: Server, file: Path, old: Path) -> None:
    file.rename(old)
    server.running.send_signal(signal.SIGHUP)


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
