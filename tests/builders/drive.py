"""Everything that the product does with its database, once, over small directories:
passes, day merges, retention, reports, exports, verify, erasure and rebuilds.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest
from msgspec import structs

from compactor.absorb.absorb import absorb
from compactor.absorb.expired_days import expired_day
from compactor.absorb.theirs import Theirs
from compactor.context import pass_context
from compactor.erasure.rewrite import preview_erasure
from compactor.erasure.visitor_filter import VisitorFilter
from compactor.lock import compactor_lock
from compactor.process import compact_once
from compactor.publishing.changed_visitors import visitor_digests
from compactor.publishing.changes import SnapshotChanges
from compactor.publishing.compare_events import compare_events
from compactor.publishing.instance import instance_id
from compactor.publishing.new_instance import CountedElsewhere, begin_as_another
from compactor.publishing.publish import publish_newest, retire_instance, take_back
from compactor.repair.rebuild import rebuild
from compactor.repair.verify import verify
from compactor.takeover.restore import restore
from compactor.takeover.takeover import take_over
from ingest.collect.encode import Line
from ingest.collect.own_traffic import OwnTraffic
from reports.batch import answer_of
from reports.export import export, room_for_export
from reports.hosts.asked import Asked
from reports.hosts.hosts_store import hosts_store
from reports.kinds import goals, parse_question
from reports.parquet_rows import encode_parquet
from reports.query import parse
from reports.report import make_report, report_of, source_of
from shared.disk.layout import DataDirectory
from shared.disk.marks import set_mark
from shared.disk.spill import own_spill
from shared.duckdb_engine import connect
from shared.erasures import create_request
from shared.event_ids import make_event_ids
from shared.generations.load import load_snapshot
from shared.generations.part_integrity import PartDamaged
from shared.generations.snapshot import Snapshot
from shared.named_filters import NamedFilter
from shared.schema import DIMENSIONS
from shared.settings import Settings
from shared.stores.event_batches import Shipping
from shared.stores.open_store import open_store
from shared.stores.postgres.connection import connected
from shared.stores.store import EventStore
from shared.timestamps import utc_day
from tests.builders.access_logs import combined, import_logs, written
from tests.builders.collisions import IDS_OF_ONE_NUMBER
from tests.builders.erasure import VISITOR, erase
from tests.builders.logs import NOON, data_directory, fold_all, line, sealed
from tests.builders.postgres import running
from tests.builders.postgres_kinds import required
from tests.builders.silent_log import SilentLog
from tests.builders.store_hosts import StoreHost

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SETTINGS: dict[str, Any] = {
    "sites": ("example.com",),
    "max_values": 3,
    "timezone": "Europe/Berlin",
    "archive_retention_days": 7,
}
GOALS = goals.given([NamedFilter("goal", "one", "path==/1"), NamedFilter("goal", "other", "props.plan!=pro", 2.0)])
QUERIES: tuple[dict[str, str], ...] = (
    {},
    {"visitors": "none"},
    {"visitors": "none", "filter": "path!=/none"},
    *({"interval": "hour", "filter": filter_} for filter_ in ("", "path!=/none")),
    *({"interval": "day", "visitors": "none", "filter": filter_} for filter_ in ("", "props.plan==pro")),
    *({"by": name, "bots": "include"} for name in (*DIMENSIONS, "props.plan")),
    *({"by": name, "visitors": "none", "interval": "day"} for name in ("path", "event", "site")),
    {"by": "path", "filter": "country==DE"},
    {"by": "path", "measures": "engaged_time"},
    *({"by": name} for name in ("channel", "hostname", "query.utm_source", "not_found")),
    {"by": "path", "measures": "value_sum,value_p50", "filter": "path=~/*|/1;value>-1", "compare": "previous"},
    {"by": "path", "event": "name-1", "site": "example.com"},
    {"kind": "cohorts", "period": "day", "event": "name-1", "return": "path!=/none"},
    {"kind": "cohorts", "filter": "country==DE"},
    {"kind": "funnel", "steps": "path!=;;event==name-1;;country==DE"},
    {"kind": "funnel", "steps": "path!=;;path!=/none", "by": "props.plan", "limit": "2"},
    {"kind": "funnel", "steps": "path!=;;path!=/none", "by": "props.plan", "limit": "2", "window": "visit"},
    {"kind": "paths", "at": "/1", "limit": "1"},
    *({"kind": "goals", "goals": GOALS, "interval": interval} for interval in ("none", "day")),
    *({"measures": "visits", "by": name} for name in ("site", "source", "entry")),
    {"measures": "visits,visitors", "by": "exit", "filter": "country==DE"},
    {"measures": "events,visits", "by": "country", "interval": "day"},
)


def visits(at_ms: int, count: int, values: int = 8, name: str = "visit", received_ms: int | None = None) -> list[Line]:
    """Events of so many values in each field, the first ones more often, with ids of
    the client and of the server.
    """
    received = received_ms or at_ms
    made = make_event_ids(count, received)
    return [
        _visit(n, min(n % (2 * values), n % values), f"{name}-{n}" if n % 4 else made[n], at_ms + n * 60_000, received)
        for n in range(count)
    ]


def _visit(number: int, value: int, id_: str, at_ms: int, received_ms: int) -> Line:
    return line(
        id_,
        at_ms,
        max(at_ms, received_ms),
        name=f"name-{value}",
        site="example.com" if number % 2 else f"site-{value}.example.org",
        visitor=VISITOR if number == 1 else f"visitor-{value}",
        session=f"session-{value}",
        url=f"https://example.com/{value}?utm_source=source-{value}&utm_medium={value}&utm_campaign={value}",
        referrer=f"https://referrer-{value}.example.org/",
        ua=f"Mozilla/5.0 (X11; Linux x86_64) Agent-{value}/1.0",
        language=f"de-{value}",
        country="DE" if number % 3 else "FR",
        props={"plan": f"plan-{value}"},
    )


def drive(root: Path) -> None:
    """The whole story of one directory, and of copies that are damaged."""
    data = data_directory(root / "data")
    old, new = NOON - 9 * DAY_MS, NOON - 2 * DAY_MS
    _fill_a_day(data, old)
    _fold(data, old + 2 * DAY_MS)
    _fill_a_day(data, new)
    next_day = line("event-of-the-next-day", new + DAY_MS)
    _fold(data, NOON, [*(line(id_, new) for id_ in IDS_OF_ONE_NUMBER), next_day])
    assert {utc_day(old)} == {day for day, kept in load_snapshot(data).days.items() if kept.expired}
    _fold(data, NOON + 1, visits(old, 40, 20, "late", NOON), "import")
    log = written(root / "access.log", [combined("2001:db8::1"), combined()])
    import_logs(data, log, own_traffic=OwnTraffic([ip_network("192.0.2.0/24")]))
    _make_visits(data, utc_day(new))
    read_everything(data)
    publish_everything(data)
    ship_events(data)
    verify_all(data)
    _erase(data)
    publish_everything(data)
    repair_everything(data)
    set_days_aside(root / "aside")
    share_ids(root / "hosts")


def _fold(data: DataDirectory, now_ms: int, lines: Iterable[Line] = (), writer: str = "0") -> None:
    """As if the compactor had looked all the time until then."""
    set_mark(data.last_pass, now_ms - 60_000)
    if lines:
        sealed(data, lines, writer)
    spam = data.root.with_name("spam.txt")
    spam.write_text("referrer-1.example.org\n", encoding="ascii")
    fold_all(data, now_ms, referrer_spam_file=spam, **SETTINGS)


def _make_visits(data: DataDirectory, day: date) -> None:
    """A question while they are not made; then passes once the day after is over."""
    query = {"from": str(day + timedelta(days=1)), "to": str(day + timedelta(days=1)), "measures": "visits"}
    with closing(connect(256 << 20, 1)) as database:
        make_report(database, data, load_snapshot(data), parse(query, datetime.fromtimestamp(NOON / 1000, UTC), "UTC"))
    for number in range(4):
        _fold(data, NOON + DAY_MS + number)
    assert load_snapshot(data).days[day].sessions


def _fill_a_day(data: DataDirectory, at_ms: int) -> None:
    """Passes with repeats, a copy that was received earlier, and more rows than a day
    may have, until the day is merged; then a late event.
    """
    first = visits(at_ms, 24, received_ms=at_ms + HOUR_MS, name=f"visit-{at_ms}")
    _fold(data, at_ms + HOUR_MS, [*first, *first[:4]])
    earlier = visits(at_ms, 2, name=f"visit-{at_ms}")
    _fold(data, at_ms + 2 * HOUR_MS, [*first[:8], *earlier, *visits(at_ms, 120, 60, f"many-{at_ms}")])


def read_everything(data: DataDirectory, **settings: Any) -> None:
    """Every kind of report, of all days, of old ones and of new ones; and exports."""
    snapshot, now = load_snapshot(data), datetime.fromtimestamp(NOON / 1000, UTC)
    days = sorted(snapshot.days)
    with closing(connect(256 << 20, 1)) as database:
        for day in (days[0], days[-1]):
            for asked in QUERIES:
                query = {"from": str(day), "to": str(day), **asked}
                for zone in ("Europe/Berlin", "America/New_York"):
                    make_report(database, data, snapshot, parse_question(query, now, zone))
        live = {"kind": "live", "at": f"{days[-1]}T23:59:00Z"}
        counted = {"by": "path", "measures": "events"}, {"by": "os", "measures": "events"}, {"by": "path"}
        for filter_ in ("", "country==DE"):
            batch = {"kind": "batch", "filter": filter_, "reports": json.dumps(counted)}
            several = parse_question(batch, now, "UTC")
            answer_of(database, source_of(data, snapshot, several), several, 1 << 40)
        encode_parquet(database, make_report(database, data, snapshot, parse_question(live, now, "UTC")))
    of_all = parse({"from": str(days[0]), "to": str(days[-1])}, now, "UTC")
    with room_for_export(data, 256 << 20, 0) as room:
        for format_ in ("ndjson", "parquet"):
            export(room, data, snapshot, of_all, format_, io.BytesIO())
        export(room._replace(memory_bytes=1 << 15), data, snapshot, of_all, "ndjson", io.BytesIO())


def publish_everything(data: DataDirectory) -> None:
    """To a store; and again what changed."""
    settings = replace(_settings(data), store=f"sqlite:///{data.root.parent / 'store.db'}")
    publish_newest(data, settings, open_store(settings, instance_id(data)))
    after, key = load_snapshot(data), b"key"
    with connect(256 << 20, 1) as database:
        changes = SnapshotChanges(database, data, Snapshot(), after)
        assert [row for day in changes.visitors(key) for page in day.pages for row in page]
        for day, kept in after.days.items():
            visitor_digests(database, data, day, kept, key)


class _NoEvents:
    """A store of events that has none."""

    def shipping(self) -> Shipping:
        return Shipping("0" * 32, "key", 2, lambda _, to: to.touch())

    def write_held_events(self, utc_day: date, to: Path) -> None:
        to.write_text("")


def ship_events(data: DataDirectory) -> None:
    """To a store that keeps events one by one: all, and what is not there any more."""
    after, store = load_snapshot(data), _NoEvents()
    emptied = msgspec.structs.replace(
        after, days={day: msgspec.structs.replace(kept, archive=()) for day, kept in after.days.items()}
    )
    with own_spill(data) as scratch, connect(256 << 20, 1) as database:
        for changes in (
            SnapshotChanges(database, data, Snapshot(), after),
            SnapshotChanges(database, data, after, emptied),
        ):
            for is_parquet in (True, False):
                assert list(changes.events(store.shipping()._replace(is_parquet=is_parquet)))
        compare_events(database, data, cast(EventStore, store), after, scratch, lambda _wrong: None)


def share_ids(root: Path) -> None:
    """Two hosts of a store: the second yields what the first has claimed, in several
    parts of a day, and counts it again once the first one's claims are released.
    """
    with running(required("system"), quick=True) as server:
        address = server.database()
        first, second = (StoreHost(root / name, address) for name in "ab")
        same = visits(NOON, 30)
        first.receive(same)
        first.settle()
        for lines in (same[:10], [*same[5:], *visits(NOON, 4, name="own")]):
            second.receive(lines)
            second.settle()
        create_request(second.data, VISITOR, None)
        erase(second.data, NOON)
        verify_all(second.data)
        _rebuild(second.data)
        take_back(first.data, first.settings, open_store(first.settings, first.instance))
        second.settle()
        assert load_snapshot(second.data).totals.counted > 30
        first.settle()
        with connected(address) as connection:  # as after a restore of the store
            connection.execute("UPDATE analytics_folded SET claims = gen_random_uuid()")
        first.settle()
        with pytest.raises(CountedElsewhere):
            begin_as_another(second.data, open_store(second.settings, second.instance))
        third = StoreHost(root / "c", address)
        with compactor_lock(third.data) as lock:
            take_over(third.data, third.settings, SilentLog(), lock, UUID(first.instance), NOON)
            restore(third.data, third.settings, SilentLog(), lock, NOON)
        retire_instance(third.data, third.settings, open_store(third.settings, third.instance), UUID(second.instance))
        _leave_out_of_retired(third, address)
        absorb(
            third.data, third.settings, open_store(third.settings, third.instance), SilentLog(), UUID(second.instance)
        )
        absorb_expired(third)


def absorb_expired(host: StoreHost) -> None:
    """A day of which no host has the archive, with itself."""
    with (
        compactor_lock(host.data) as lock,
        pass_context(host.data, host.settings, SilentLog(), lock, NOON) as context,
    ):
        found = load_snapshot(host.data)
        day = max(found.days)
        expired = structs.replace(found.days[day], expired=True, archive=(), ids=(), yielded=())
        snapshot = structs.replace(found, days={day: expired})
        expired_day(context, snapshot, Theirs(UUID(host.instance), host.data, snapshot), day)


def _leave_out_of_retired(host: StoreHost, address: str) -> None:
    """Erase who is in no retired instance, and ask while another one is to be left
    out.
    """
    create_request(host.data, "nobody", None)
    host.erase()
    host.settle()
    with connected(address) as connection:
        order = "INSERT INTO analytics_orders (request, asked_at, visitor, site) VALUES (%s, '', %s, %s)"
        for number, site in enumerate((None, "example.com")):
            connection.execute(order, (f"{number:016}", VISITOR, site))
    day = str(max(load_snapshot(host.data).days))
    query = parse({"from": day, "to": day}, datetime.fromtimestamp(NOON / 1000, UTC), "UTC")
    with hosts_store(host.data, address, 1 << 30, 0) as store, connect(256 << 20, 1) as database:
        store.read(Asked(query, "UTC"), lambda source: report_of(database, source, query))


def verify_all(data: DataDirectory) -> None:
    findings = verify(data, _settings(data), lambda _step: None).findings
    assert findings == [], findings


def _settings(data: DataDirectory) -> Settings:
    return Settings(data_dir=data.root, **SETTINGS)


def _erase(data: DataDirectory) -> None:
    preview_erasure(data, _settings(data), VisitorFilter(VISITOR, "example.com"))
    create_request(data, VISITOR, None)
    erase(data, NOON + HOUR_MS)


def repair_everything(data: DataDirectory) -> None:
    """Rebuild it intact, in pieces, with a damaged part beside a leftover, and without
    a snapshot.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compactor.generations.clustered.SORTED_SHARE", 1 << 15)
        _rebuild(data)
    day = max(data.archive.iterdir())
    part = max(day.glob("*.parquet"))
    part.with_name("g0000009999.parquet").write_bytes(part.read_bytes())
    part.write_bytes(part.read_bytes()[:-9])
    sealed(data, visits(NOON, 2, name="unfolded"))
    _rebuild(data)
    for path in data.root.glob("snapshot*.json"):
        path.write_bytes(path.read_bytes()[:-10])
    _rebuild(data)
    _fold(data, NOON + 2 * HOUR_MS)
    verify_all(data)


def _rebuild(data: DataDirectory) -> None:
    rebuild(data, _settings(data), SilentLog(), NOON + HOUR_MS, dry_run=False)


def set_days_aside(root: Path) -> None:
    """The archive of one day is damaged: events near it cannot be compared with it."""
    data = data_directory(root)
    sealed(data, [line("old", NOON - 20 * DAY_MS)])
    fold_all(data)
    (part,) = data.archive.glob("*/*.parquet")
    part.write_bytes(part.read_bytes()[:-9])
    sealed(data, [line("late", NOON - 20 * DAY_MS), line("today")])
    for _ in range(3):
        with suppress(PartDamaged):
            compact_once(data, Settings(data_dir=data.root), SilentLog())
    assert load_snapshot(data).totals.set_aside == 1
