"""`foldlog tail` shows each event once, only those that were asked for, and nothing
that a terminal would act on.
"""

from __future__ import annotations

import gzip
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from foldlog.tail.follower import Follower, TailFilter
from foldlog.tail.printer import readable
from ingest.collect.encode import Line, encode_lines
from ingest.wal.active_segment import ActiveSegment
from shared.disk.layout import DataDirectory
from shared.segments.recovery import next_sequence, recover
from shared.segments.sealed import sealed_segments
from tests.builders.command import run_here
from tests.builders.logs import NOON, data_directory, line, sealed
from tests.builders.server import environment, run_foldlog

HAZARDS = "\x1b[2J\x07\x9b\u202e\x7f"


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return data_directory(tmp_path / "data")


def opened(data: DataDirectory, writer: str = "0") -> ActiveSegment:
    return ActiveSegment(data, writer, next_sequence(data, writer), "os")


def write(segment: ActiveSegment, *ids: str, name: str = "pageview", at: int = NOON) -> None:
    segment.commit(encode_lines([line(id_, at, name=name) for id_ in ids]), len(ids))


def ids(lines: Iterator[bytes] | list[bytes]) -> list[str]:
    return [json.loads(each)["id"] for each in lines]


def follower(data: DataDirectory, **wanted: frozenset[str]) -> Follower:
    return Follower(data, TailFilter(**wanted))


def test_segment_opened_and_sealed_between_two_polls_is_shown(data: DataDirectory) -> None:
    following = follower(data)
    assert following.last(10) == []
    short = opened(data)
    write(short, "event-0001", "event-0002")
    short.seal()
    assert ids(following.poll()) == ["event-0001", "event-0002"]
    assert ids(following.poll()) == []


def test_each_event_is_shown_once_whenever_its_segment_is_sealed(data: DataDirectory) -> None:
    """A look falls before and after each step of a life of several segments, and each
    line comes once.
    """
    following = follower(data)
    seen = ids(following.last(10))
    for number in range(1, 6):
        segment = opened(data)
        for half in "ab":
            write(segment, f"event-{number}{half}-0")
            if (number + (half == "a")) % 2:
                seen += ids(following.poll())
        segment.seal()
        if number != 3:
            seen += ids(following.poll())
    seen += ids(following.poll())
    assert seen == [f"event-{number}{half}-0" for number in range(1, 6) for half in "ab"]


def test_segment_sealed_while_tail_starts_is_shown(data: DataDirectory) -> None:
    segment = opened(data)
    write(segment, "event-0001")
    following = follower(data)  # has listed the directory
    segment.seal()
    write(opened(data), "event-0002", at=NOON + 1)
    assert ids(following.last(10)) == ["event-0001", "event-0002"]


def test_recovered_segment_of_a_killed_worker_is_not_shown_again(data: DataDirectory) -> None:
    orphan = opened(data)
    write(orphan, "event-0001", "event-0002")
    with data.active("0").open("ab") as file:
        file.write(b'{"v":1,"torn')
    following = follower(data)
    assert ids(following.last(10)) == ["event-0001", "event-0002"]
    orphan.close()
    recover(data, "0")
    assert [segment.name.sequence for segment in sealed_segments(data)] == [1]
    assert ids(following.poll()) == []


def test_compressing_shows_nothing_again(data: DataDirectory) -> None:
    name = sealed(data, [line("event-0001")])
    following = follower(data)
    assert ids(following.last(10)) == ["event-0001"]
    plain = data.log / name.file
    plain.with_name(f"{name.file}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert ids(following.poll()) == []


def test_half_a_line_is_shown_once_it_is_whole(data: DataDirectory) -> None:
    following = follower(data)
    following.last(10)
    whole = encode_lines([line("event-0001")])
    with data.active("0").open("ab", buffering=0) as file:
        for piece in (whole[:20], whole[20:]):
            assert ids(following.poll()) == []
            file.write(piece)
        assert ids(following.poll()) == ["event-0001"]
    assert following.damaged == 0


def test_truncated_line_does_not_spoil_the_next(data: DataDirectory) -> None:
    """A full disk took half a group: the writer truncates back and goes on."""
    following = follower(data)
    following.last(10)
    with data.active("0").open("ab", buffering=0) as file:
        file.write(encode_lines([line("event-0001")]))
        size = file.tell()
        file.write(encode_lines([line("taken-back-1")])[:100])
        assert ids(following.poll()) == ["event-0001"]
        file.truncate(size)
        file.write(encode_lines([line("event-0002")]))
        assert ids(following.poll()) == ["event-0002"]
    assert following.damaged == 0


def test_last_lines_are_those_received_last_over_all_writers(data: DataDirectory) -> None:
    for number in range(12):
        sealed(data, [line(f"event-{number:04d}", NOON + number * 1000)], writer=str(number % 3))
    assert ids(follower(data).last(5)) == [f"event-{number:04d}" for number in range(7, 12)]
    assert ids(follower(data).last(0)) == []


def test_lines_of_one_millisecond_stay_in_order(data: DataDirectory) -> None:
    sealed(data, [line(f"event-{number:04d}") for number in range(20)])
    write(opened(data), *[f"event-{number:04d}" for number in range(20, 25)])
    assert ids(follower(data).last(8)) == [f"event-{number:04d}" for number in range(17, 25)]


def test_filter_reads_back_until_it_has_found_enough(data: DataDirectory) -> None:
    for number in range(30):
        name = "signup" if number in {2, 11, 19} else "pageview"
        site = "shop.example.com" if number == 11 else "example.com"
        sealed(data, [line(f"event-{number:04d}", NOON + number * 1000, name=name, site=site)])
    assert ids(follower(data, events=frozenset({"signup"})).last(2)) == ["event-0011", "event-0019"]
    assert ids(follower(data, events=frozenset({"signup"})).last(10)) == ["event-0002", "event-0011", "event-0019"]
    assert ids(follower(data, sites=frozenset({"shop.example.com"})).last(10)) == ["event-0011"]
    both = {"events": frozenset({"signup"}), "sites": frozenset({"example.com"})}
    assert ids(follower(data, **both).last(10)) == ["event-0002", "event-0019"]
    assert ids(follower(data, events=frozenset({"signup", "pageview"})).last(2)) == ["event-0028", "event-0029"]
    assert ids(follower(data, events=frozenset({"sign"})).last(10)) == []


def test_event_name_inside_another_field_does_not_match(data: DataDirectory) -> None:
    sealed(
        data,
        [line("event-0001", props={"note": '","name":"signup"', "name": "signup"}), line("event-0002", name="signup")],
    )
    assert ids(follower(data, events=frozenset({"signup"})).last(10)) == ["event-0002"]


@pytest.mark.long
@pytest.mark.parametrize("keep", [0.95, 0.5, 0.0])
def test_damaged_compressed_segment_loses_only_its_unreadable_part(data: DataDirectory, keep: float) -> None:
    made = [line(f"event-{number:04d}", NOON + number, props={"noise": os.urandom(20).hex()}) for number in range(200)]
    name = sealed(data, made)
    sealed(data, [line("event-9999", NOON + 5000)])
    plain = data.log / name.file
    whole = gzip.compress(plain.read_bytes())
    plain.with_name(f"{name.file}.gz").write_bytes(whole[: int(len(whole) * keep)])
    plain.unlink()
    shown = run_here(["tail", "-n", "1000", "--json"], environment(data.root))
    assert shown.returncode == 0
    found = ids(shown.stdout.encode().splitlines())
    assert found == [f"event-{number:04d}" for number in range(len(found) - 1)] + ["event-9999"]
    assert keep * 200 - 10 <= len(found) <= keep * 200 + 10
    # Half a line, and the rest.
    skipped = "foldlog: skipped 2 damaged pieces of the log; `foldlog verify` shows where\n"
    assert shown.stderr == (skipped if keep else "")


@pytest.mark.long
def test_damaged_lines_are_skipped_and_counted(data: DataDirectory) -> None:
    name = sealed(data, [line("event-0001"), line("event-0002"), line("event-0003")])
    path = data.log / name.file
    path.write_bytes(path.read_bytes().replace(b"event-0002", b"event-000X"))
    with data.active("0").open("ab") as file:
        file.write(b"\x00\x1b[2Jnonsense\n" + encode_lines([line("event-0004")]))
    for arguments in ([], ["--json"], ["--event", "pageview"]):
        shown = run_here(["tail", *arguments], environment(data.root))
        assert shown.returncode == 0
        assert len(shown.stdout.splitlines()) == 3 and "\x1b" not in shown.stdout and "\x00" not in shown.stdout
        assert shown.stderr == "foldlog: skipped 2 damaged pieces of the log; `foldlog verify` shows where\n"


def hostile(id_: str = "event-0001") -> Line:
    return line(
        id_, name=f"sign{HAZARDS}up", props={f"a{HAZARDS}": f"b{HAZARDS}\r\n\t"}, url=f"https://example.com/{HAZARDS}"
    )


def control(text: str) -> set[str]:
    return {character for character in text if not character.isprintable()} - {"\n"}


def test_readable_form_has_no_control_characters() -> None:
    shown = readable(encode_lines([hostile()]))
    assert control(shown) == set()
    assert "sign\\u001b[2J\\u0007\\u009b\\u202e\\u007fup" in shown and "\\u000d\\u000a\\u0009" in shown


@pytest.mark.parametrize("content", [b"", b"{}", b"[1", b'{"name":"\xff\x1b"}', b'{"value":1e400}'])
def test_line_that_is_no_event_is_readable(content: bytes) -> None:
    assert control(readable(content + b"\n")) == set()


@contextmanager
def on_a_terminal(arguments: list[str], environ: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`foldlog` with its output on a terminal of its own; the other end of that as a
    descriptor.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "foldlog", *arguments],
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        close_fds=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(descriptor: int, what: str, timeout_s: float = 30.0) -> str:
    shown, deadline = b"", time.monotonic() + timeout_s
    while what.encode() not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([descriptor], [], [], 0.1)[0]:
            with suppress(OSError):  # the last of it was read
                shown += os.read(descriptor, 1 << 16)
    return shown.decode("utf-8")


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["readable", "json"])
def test_terminal_gets_no_control_characters_from_events(data: DataDirectory, form: list[str]) -> None:
    segment = opened(data)
    # As some other program might have written it: valid, and nothing escaped that JSON
    # does not want escaped.
    raw = encode_lines([hostile()]).replace(b"\\u202e", "\u202e".encode()).replace(b"\\u009b", "\u009b".encode())
    body = raw.rpartition(b',"crc"')[0]
    segment.commit(b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)), 1)
    write(segment, "event-last")
    with on_a_terminal(["tail", *form], environment(data.root)) as (process, terminal):
        shown = read_until(terminal, "\n" if not form else "event-last")
        process.wait(60)
    assert "sign" in shown
    assert control(shown.replace("\r\n", "\n")) == set()


def following(data: DataDirectory, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "foldlog", "tail", "-f", *arguments]
    # Where the tests run in the background of a shell, SIGINT is ignored, and children
    # would inherit that.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command, env=environment(data.root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeding
    )


def test_following_a_filter_gives_lines_as_they_were_written_at_once(data: DataDirectory) -> None:
    segment = opened(data)
    write(segment, "event-0001", name="signup")
    with following(data, "--event", "signup", "--json") as tail:
        assert tail.stdout is not None and tail.stderr is not None
        assert ids([tail.stdout.readline()]) == ["event-0001"]
        write(segment, "event-0002")
        write(segment, "event-0003", name="signup")
        last = tail.stdout.readline()
        assert last == (data.active("0")).read_bytes().splitlines(keepends=True)[-1]
        tail.send_signal(signal.SIGINT)
        assert tail.wait(60) == 130
        assert (tail.stdout.read(), tail.stderr.read()) == (b"", b"")


@pytest.mark.parametrize("more", [True, False], ids=["events go on", "no event comes"])
def test_tail_ends_quietly_when_its_reader_is_gone(data: DataDirectory, more: bool) -> None:
    """As `| head -1` does. Without looking at the pipe it would wait for an event that
    never comes.
    """
    segment = opened(data)
    write(segment, "event-0001")
    with following(data) as tail:
        assert tail.stdout is not None and tail.stderr is not None
        tail.stdout.readline()
        tail.stdout.close()
        if more:
            write(segment, "event-0002")
        assert tail.wait(60) == 0
        assert tail.stderr.read() == b""


def test_many_lines_into_a_pipe_that_closes_end_quietly(data: DataDirectory) -> None:
    sealed(data, [line(f"event-{number:05d}") for number in range(3000)])
    command = f"{sys.executable} -m foldlog tail -n 3000 --json | head -n 1"
    done = subprocess.run(["sh", "-c", command], env=environment(data.root), capture_output=True, text=True, check=True)  # noqa: S607
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_locale_that_cannot_show_an_event_is_no_error(data: DataDirectory) -> None:
    sealed(data, [line("event-0001", name="größe")])
    shown = run_foldlog(["tail"], environment(data.root) | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert shown.returncode == 0
    assert "gr\\xf6\\xdfe" in shown.stdout


def test_segment_of_a_newer_foldlog_ends_with_2(data: DataDirectory) -> None:
    newer = line("event-0001")
    newer.v = 99
    sealed(data, [newer])
    shown = run_here(["tail"], environment(data.root))
    assert shown.returncode == 2
    assert "schema version 99" in shown.stderr and shown.stderr.count("\n") == 1


def test_number_of_lines_is_0_or_more(data: DataDirectory) -> None:
    refused = run_here(["tail", "-n", "-3"], environment(data.root))
    assert refused.returncode == 2 and "-3" in refused.stderr


@pytest.mark.parametrize(
    ("wanted", "count"), [(frozenset({"nothing"}), 1_000_000), (frozenset(), 3)], ids=["filter", "all"]
)
def test_memory_does_not_grow_with_the_log(data: DataDirectory, wanted: frozenset[str], count: int) -> None:
    """What is kept while looking back is what is shown, however much does not match."""
    for number in range(3):
        sealed(data, [line(f"event-{number}-{n:05d}", props={"text": "x" * 1500}) for n in range(3000)])
    size = sum(segment.bytes for segment in sealed_segments(data))
    tracemalloc.start()
    try:
        last = Follower(data, TailFilter(wanted)).last(count)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(last) == (0 if wanted else 3)
    assert size > 15 << 20 and peak < size / 4, peak
