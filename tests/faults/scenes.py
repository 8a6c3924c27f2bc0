"""The scenes that are killed: real ingest, sealing, compaction and recovery in a small
data directory.

A scene prepares a directory once, undisturbed, and plays on copies of it. Its seed
decides on the shape: how many events, in how many batches of what size, what lies in
the directory before. What clients intend and what is acknowledged to them goes to a
ledger on another file system.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from compactor.lock import compactor_lock
from compactor.process import compact_once
from compactor.retention.command import retain_now
from compactor.run_pass import run_pass
from ingest.collect.encode import Line, encode_lines
from ingest.wal.active_segment import ActiveSegment
from ingest.wal.commit_queue import CommitQueue, _Group
from shared.disk.control_files import touch
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.segments.line import SCHEMA_VERSION
from shared.segments.recovery import next_sequence, recover
from shared.settings import Settings
from shared.timestamps import DAY_S, now_ms, rfc3339
from tests.builders.silent_log import SilentLog
from tests.faults.oracle import Ledger
from tests.faults.strace import MAIN, OTHERS, Gate

WRITING = "writer"  # the thread of the writer
WRITER = "0"
DEAD_WRITER = "1"
TIME = "time"  # of all events of a prepared directory: every run on it sends the same
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
HOUR_MS = 3_600_000
DAY_MS = DAY_S * 1000
ARCHIVE_DAYS = 3


@dataclass(frozen=True)
class Place:
    """Where one run happens: a data directory, and a directory for the ledger on
    another file system.
    """

    root: Path
    ledger: Path

    @property
    def data(self) -> DataDirectory:
        return DataDirectory(self.root)

    def settings(self, seed: int) -> Settings:
        """The log goes as soon as it is folded, but not with every third seed; archives
        go when their day is over for long.
        """
        kept_days = 30 if seed % 3 == 2 else 0
        return Settings(data_dir=self.root, log_retention_days=kept_days, archive_retention_days=ARCHIVE_DAYS)


@dataclass(frozen=True)
class Scene:
    """What is killed: `threads` are those in which it may be, by the names that `play`
    gives them at the gate.
    """

    name: str
    prepare: Callable[[Place, int], None]
    play: Callable[[Place, int, Gate], None]
    threads: tuple[str, ...] = (MAIN,)
    # Nothing but the log and the quarantine changes, so that one fold speaks for all
    # runs that leave the same bytes there.
    only_logs: bool = False
    # What recovery leaves depends on the orphan alone, so it is the same wherever the
    # one before was killed.
    only_recovers: bool = False
    # The scene is played on what a first kill left, at each of its points.
    twice: bool = False


def events(pick: random.Random, name: str, count: int, at_ms: int, received_ms: int | None = None) -> list[Line]:
    """Events of about a minute, with notes of very different lengths."""
    note = "n" * pick.choice((0, 20, 400, 3000))
    return [
        Line(
            v=SCHEMA_VERSION,
            id=f"{name}-{number:04d}",
            name=pick.choice(("pageview", "signup")),
            time=rfc3339(at_ms + pick.randrange(60_000)),
            received=rfc3339(at_ms if received_ms is None else received_ms),
            site="example.com",
            visitor=f"visitor-{pick.randrange(5)}",
            url=f"https://example.com/{pick.randrange(4)}",
            ua=AGENT,
            consent="granted",
            props={"note": note},
        )
        for number in range(count)
    ]


def ids(lines: list[Line]) -> list[str]:
    return [line.id for line in lines]


def keep(place: Place, lines: list[Line], *, writer: str = WRITER, acknowledge: bool = True) -> None:
    """Write a sealed segment, as a writer of before did whose clients had their
    answers.
    """
    data = place.data
    segment = ActiveSegment(data, writer, next_sequence(data, writer), "fsync")
    segment.commit(encode_lines(lines), len(lines))
    segment.seal()
    note(place, lines, acknowledge=acknowledge)


def leave_orphan(place: Place, pick: random.Random, writer: str, name: str) -> None:
    """What a dead writer leaves: whole lines, a damaged one among them, a torn one at
    the end, perhaps a lone `.sha256`.
    """
    data = place.data
    good = events(pick, name, pick.randrange(2, 12), now_ms())
    lines = encode_lines(good).splitlines(keepends=True)
    damaged = encode_lines(events(pick, f"{name}-damaged", 1, now_ms())).replace(b"example", b"exbmple")
    lines.insert(pick.randrange(len(lines)), damaged)
    torn = encode_lines(events(pick, f"{name}-torn", 1, now_ms()))[: pick.randrange(1, 150)]
    data.active(writer).write_bytes(b"".join(lines) + torn)
    if pick.randrange(2):
        number = next_sequence(data, writer)
        (data.log / f"20260101T000000Z-{writer}-{number:010d}.sha256").write_text(f"{'0' * 64}  never-renamed.ndjson\n")
    note(place, good)


def note(place: Place, lines: list[Line], *, acknowledge: bool = True) -> None:
    ledger = Ledger(place.ledger, "before")
    ledger.intend(ids(lines))
    if acknowledge:
        ledger.acknowledge(ids(lines))
    ledger.close()


class Watched(CommitQueue):
    """The writer of the product, whose thread stops at the gate before its first
    step.
    """

    gate: Gate

    def _run(self) -> None:
        self.gate.wait(WRITING)
        super()._run()


class Hasty(Watched):
    """A writer that answers before it writes: the fault that this harness must be able
    to see.
    """

    def _commit(self, group: _Group) -> None:
        self._loop.call_soon_threadsafe(self._finish, group.members, None)
        time.sleep(0.05)
        super()._commit(group._replace(members=[]))


def prepare_ingest(place: Place, seed: int) -> None:
    pick = random.Random(seed)
    make_data_directory(place.data)
    (place.ledger / TIME).write_text(str(now_ms()))
    if seed % 2:
        keep(place, events(pick, "before", 3, now_ms()))
        leave_orphan(place, pick, WRITER, "orphan")


def play_ingest(place: Place, seed: int, gate: Gate) -> None:
    asyncio.run(_ingest(Watched, place, seed, gate, place.settings(seed)))


def play_hasty(place: Place, seed: int, gate: Gate) -> None:
    asyncio.run(_ingest(Hasty, place, seed, gate, place.settings(seed)))


def play_seal(place: Place, seed: int, gate: Gate) -> None:
    """Seals after each group that reaches the size, once because it is asked to, and at
    the end.
    """
    size = (1, 1500, 6000)[seed % 3]
    settings = replace(place.settings(seed), segment_max_bytes=size)
    asyncio.run(_ingest(Watched, place, seed, gate, settings, seals=True))


async def _ingest(
    kind: type[Watched], place: Place, seed: int, gate: Gate, settings: Settings, *, seals: bool = False
) -> None:
    waves = list(_waves(seed, int((place.ledger / TIME).read_text())))
    gate.wait(MAIN)
    kind.gate = gate
    ledger = Ledger(place.ledger, "client")
    writer = kind(place.data, WRITER, settings, SilentLog())
    for number, wave in enumerate(waves):
        if seals and number == 1:
            touch(place.data.seal_request)
        await asyncio.gather(*[_post(writer, ledger, batch) for batch in wave])
    if seals:
        await writer.close()


def _waves(seed: int, at_ms: int) -> Iterator[list[list[Line]]]:
    """Batches that are sent at the same moment, wave after wave. In some seeds one is
    larger than a pipe or a page.
    """
    pick = random.Random(seed)
    for wave in range(pick.randrange(2, 5)):
        batches = pick.randrange(1, 4)
        sizes = [pick.randrange(100, 200) if pick.randrange(8) == 0 else pick.randrange(1, 9) for _ in range(batches)]
        yield [events(pick, f"event-{wave}-{number}", size, at_ms) for number, size in enumerate(sizes)]


async def _post(writer: CommitQueue, ledger: Ledger, batch: list[Line]) -> None:
    ledger.intend(ids(batch))
    await writer.append(encode_lines(batch), len(batch))
    ledger.acknowledge(ids(batch))


def prepare_compact(place: Place, seed: int) -> None:
    """A history of ten days: a day whose archive is due to go, more snapshots than are
    kept, then events not yet folded.
    """
    pick = random.Random(seed)
    make_data_directory(place.data)
    now = now_ms()
    if seed % 2 == 0:  # they end with their archive; the counters still know them
        keep(place, events(pick, "old-event", pick.randrange(2, 20), now - 10 * DAY_MS), acknowledge=False)
    recent = events(pick, "recent-event", pick.randrange(2, 20), now - 2 * DAY_MS)
    for hours_ago in (240, 200, 160, 120, 80, 40):
        if hours_ago == 40:
            keep(place, recent)
        _fold_at(place, now - hours_ago * HOUR_MS)
    for number in range(pick.randrange(1, 4)):
        keep(place, events(pick, f"new-event-{number}", pick.randrange(1, 40), now), writer=pick.choice((WRITER, "2")))
    # Sent again; the first of them arrived before the copy that is archived, so it
    # takes its place.
    again = [replace_received(line, now - 3 * DAY_MS) for line in recent[:1]] + recent[1:3]
    keep(place, again, writer="2")
    if seed % 3:
        leave_orphan(place, pick, DEAD_WRITER, "orphan")


def replace_received(line: Line, received_ms: int) -> Line:
    return Line(**{name: getattr(line, name) for name in Line.__struct_fields__} | {"received": rfc3339(received_ms)})


def _fold_at(place: Place, at_ms: int) -> None:
    with compactor_lock(place.data) as lock:
        run_pass(place.data, Settings(data_dir=place.root), SilentLog(), lock, at_ms)


def play_compact(place: Place, seed: int, gate: Gate) -> None:
    gate.wait(MAIN)
    compact_once(place.data, place.settings(seed), SilentLog())


def prepare_retain(place: Place, seed: int) -> None:
    """Everything is folded, by the newest snapshot and by those that are kept; days and
    segments are past their time.
    """
    pick = random.Random(seed)
    data, now = place.data, now_ms()
    make_data_directory(data)
    for number in range(pick.randrange(2, 5)):
        at_ms = now - (8 + number) * DAY_MS
        keep(place, events(pick, f"old-event-{number}", pick.randrange(2, 10), at_ms), acknowledge=False)
    for hours_ago in (220, 180, 140, 100, 60, 20):
        keep(place, events(pick, f"event-{hours_ago}", pick.randrange(2, 10), now - DAY_MS))
        _fold_at(place, now - hours_ago * HOUR_MS)


def play_retain(place: Place, seed: int, gate: Gate) -> None:
    gate.wait(MAIN)
    retain_now(place.data, place.settings(seed), SilentLog(), now_ms, confirmed=True)


def prepare_recover(place: Place, seed: int) -> None:
    pick = random.Random(seed)
    make_data_directory(place.data)
    for number in range(pick.randrange(3)):
        keep(place, events(pick, f"before-{number}", pick.randrange(1, 5), now_ms()))
    leave_orphan(place, pick, WRITER, "orphan")


def play_recover(place: Place, seed: int, gate: Gate) -> None:
    gate.wait(MAIN)
    recover(place.data, WRITER)


SCENES = {
    scene.name: scene
    for scene in (
        Scene("ingest", prepare_ingest, play_ingest, (MAIN, WRITING), only_logs=True),
        Scene("seal", prepare_ingest, play_seal, (MAIN, WRITING), only_logs=True),
        Scene("compact", prepare_compact, play_compact, (MAIN, OTHERS)),
        Scene("retain", prepare_retain, play_retain),
        Scene("recover", prepare_recover, play_recover, only_logs=True, only_recovers=True),
        Scene("recover-twice", prepare_recover, play_recover, only_logs=True, only_recovers=True, twice=True),
    )
}
# Not part of the proof: it loses events on purpose.
HASTY = Scene("hasty", prepare_ingest, play_hasty, (WRITING,), only_logs=True)
