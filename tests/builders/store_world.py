"""Three hosts and a real store, with what may befall them: the actions that a random
interleaving is made of, as tests/claims/world.py has them for the model, and the truth.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psycopg

from compactor.absorb.absorb import absorb
from compactor.absorb.expired_days import DaysDiffer
from compactor.claims.claim import IdsClaimedElsewhere
from compactor.lock import compactor_lock
from compactor.publishing.publish import retire_instance, take_back
from compactor.takeover.restore import restore
from compactor.takeover.takeover import take_over
from ingest.collect.encode import Line
from shared.exit_codes import TemporaryFailure
from shared.lateness import DEDUPE_DAYS
from shared.stores.ledger import StoreRefused
from shared.stores.open_store import open_store
from tests.builders.cut_connection import Cut, cutting
from tests.builders.logs import NOON, line
from tests.builders.postgres import Server
from tests.builders.random_lines import DAY_MS
from tests.builders.silent_log import SilentLog
from tests.builders.store_hosts import StoreHost, counted_ids

BOTH_HOSTS = 0.3
LOST_ANSWER = 0.2
COMMITS_MAX = 8


class StoreWorld:
    """`sent`: the days of the acknowledged copies of each id. `excused`: ids of which
    no copy may be left.
    """

    def __init__(self, server: Server, root: Path, seed: int) -> None:
        self.pick = random.Random(seed)
        self.today = 0
        self.sent: dict[int, list[int]] = {}
        self.excused: set[int] = set()
        self.history: list[str] = []
        self.gone: UUID | None = None
        self._disks = 0
        self._server, self._root = server, root
        self._address = server.database()
        self.hosts = {name: StoreHost(root / name, self._address) for name in "abc"}
        self._pending: dict[str, list[Line]] = {name: [] for name in self.hosts}
        self._received: dict[str, set[int]] = {name: set() for name in self.hosts}
        self._back_up()

    @property
    def now_ms(self) -> int:
        return NOON + self.today * DAY_MS

    # Clients

    def send(self, name: str) -> None:
        """New ids; some go to a second host on a neighbouring day as well."""
        for _ in range(self.pick.randint(1, 4)):
            number = len(self.sent)
            self._deliver(name, number, self.today - self.pick.choice([0, 0, 1, 3]))
            if self.pick.random() < BOTH_HOSTS:
                self.send_again(self.pick.choice(list(self.hosts)), number)

    def send_again(self, name: str, number: int | None = None) -> None:
        """A copy of an id of the last days."""
        recent = [each for each, days in self.sent.items() if max(days) >= self.today - DEDUPE_DAYS]
        if number is None and recent:
            number = self.pick.choice(recent)
        if number is None:
            return
        days = self.sent[number]
        oldest = max(max(days) - DEDUPE_DAYS, self.today - DEDUPE_DAYS)
        newest = min(min(days) + DEDUPE_DAYS, self.today)
        if oldest <= newest:
            self._deliver(name, number, self.pick.randint(oldest, newest))

    def _deliver(self, name: str, number: int, day: int) -> None:
        self.sent.setdefault(number, []).append(day)
        self._received[name].add(number)
        self._pending[name].append(line(f"event-{number:06}", NOON + day * DAY_MS, self.now_ms))

    # Hosts

    def fold(self, name: str) -> None:
        if pending := self._pending[name]:
            self.hosts[name].receive(pending, self.now_ms)
            self._pending[name] = []

    def publish(self, name: str) -> None:
        """One try; now and then, an answer to COMMIT is lost."""
        host = self.hosts[name]
        if self.pick.random() < LOST_ANSWER:
            with cutting(self._address) as cut:
                cut.next_at("COMMIT", self.pick.choice(["answer", "request"]), self.pick.randint(1, COMMITS_MAX))
                self._publish_through(host, cut)
        else:
            with suppress(IdsClaimedElsewhere):
                host.publish(self.now_ms)

    def _publish_through(self, host: StoreHost, cut: Cut) -> None:
        through = StoreHost(host.data.root, cut.address)
        with suppress(TemporaryFailure):
            through.publish(self.now_ms)

    def carry_out(self, name: str) -> None:
        self.hosts[name].carry_out(self.now_ms)

    # Disasters and operators

    def pass_day(self, _name: str) -> None:
        self.today += 1
        if self.pick.random() < 0.7:
            self._back_up()

    def restore_store(self, _name: str) -> None:
        self._replace("test_backup", self._main)
        gone = self._received.keys() - self.hosts.keys()
        self.excused |= {number for name in gone for number in self._received[name]}

    def rebuild(self, name: str) -> None:
        host = self.hosts[name]
        take_back(host.data, host.settings, open_store(host.settings, host.instance))

    def lose_disk(self, name: str) -> None:
        """What it has not published is lost with it; an empty host takes over."""
        old = self.hosts[name]
        self._disks += 1
        new = StoreHost(self._root / f"{name}{self._disks}", self._address)
        with compactor_lock(new.data) as lock:
            take_over(new.data, new.settings, SilentLog(), lock, UUID(old.instance), self.now_ms)
        self.hosts[name] = new
        self._pending[name] = []
        self.excused |= self._received[name]

    def put_back(self, name: str) -> None:
        """The backup of a directory, which then receives more, and is filled again from
        the store. What it had not published is lost with what was there.
        """
        host, backup = self.hosts[name], self._root / f"{name}-backup"
        if backup.exists():
            self.excused |= self._received[name]
            shutil.rmtree(host.data.root)
            shutil.copytree(backup, host.data.root)
            self._pending[name] = []
            self.send(name)
            self.fold(name)
            self.send(name)
            with compactor_lock(host.data) as lock, suppress(StoreRefused):  # it is not behind
                restore(host.data, host.settings, SilentLog(), lock, self.now_ms)
        shutil.rmtree(backup, ignore_errors=True)
        shutil.copytree(host.data.root, backup)

    def retire(self, name: str) -> None:
        """One host at most goes for ever. What it has not published is lost with it."""
        if len(self.hosts) < len(self._received):
            return
        host = self.hosts.pop(name)
        self.gone = UUID(host.instance)
        published = counted_ids(self._address, self._root, host.instance)
        self._retire_gone()
        self.excused |= {number for number in self._received[name] if not published[f"event-{number:06}"]}

    def _retire_gone(self) -> None:
        assert self.gone
        by = next(iter(self.hosts.values()))
        store = open_store(by.settings, by.instance)
        with suppress(StoreRefused):  # the store was restored to a time before it
            retire_instance(by.data, by.settings, store, self.gone)

    def absorb(self, name: str) -> None:
        """What the one that is gone has published becomes a host's."""
        if self.gone is None:
            return
        host = self.hosts[name]
        store = open_store(host.settings, host.instance)
        # It is absorbed or not retired any more, or another host absorbs it.
        with suppress(StoreRefused, DaysDiffer):
            if self.pick.random() < LOST_ANSWER:
                with cutting(self._address) as cut, suppress(TemporaryFailure):
                    cut.next_at("COMMIT", self.pick.choice(["answer", "request"]), self.pick.randint(1, COMMITS_MAX))
                    through = StoreHost(host.data.root, cut.address)
                    store = open_store(through.settings, host.instance)
                    absorb(host.data, through.settings, store, SilentLog(), self.gone)
            else:
                absorb(host.data, host.settings, store, SilentLog(), self.gone)

    def settle(self) -> None:
        """Every host does what is left to do."""
        if len(self.hosts) < len(self._received):
            self._retire_gone()
        for _ in range(2):
            for name, host in self.hosts.items():
                self.fold(name)
                host.settle(self.now_ms)

    # The truth

    def counted(self) -> Counter[str]:
        return counted_ids(self._address, self._root)

    def wrong(self) -> dict[int, int]:
        """How often ids count that do not count once."""
        found = self.counted()
        times = {number: found[f"event-{number:06}"] for number in self.sent}
        allowed = {number: {0, 1} if number in self.excused else {1} for number in self.sent}
        return {number: count for number, count in times.items() if count not in allowed[number]}

    # The store

    @property
    def _main(self) -> str:
        return self._address.split("/")[3].split("?")[0]

    def _back_up(self) -> None:
        self._replace(self._main, "test_backup")

    def _replace(self, source: str, target: str) -> None:
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {target} TEMPLATE {source}".encode())


Action = Callable[[StoreWorld, str], None]
# What may happen, and how often.
ACTIONS: tuple[tuple[Action, float], ...] = (
    (StoreWorld.send, 24),
    (StoreWorld.send_again, 10),
    (StoreWorld.fold, 16),
    (StoreWorld.publish, 40),
    (StoreWorld.carry_out, 20),
    (StoreWorld.pass_day, 5),
    (StoreWorld.rebuild, 2),
    (StoreWorld.restore_store, 2),
    (StoreWorld.lose_disk, 1),
    (StoreWorld.put_back, 2),
    (StoreWorld.retire, 0.8),
    (StoreWorld.absorb, 3),
)


def play(world: StoreWorld, steps: int) -> None:
    """A random interleaving, to its rest."""
    actions, weights = zip(*ACTIONS, strict=True)
    for _ in range(steps):
        name = world.pick.choice(list(world.hosts))
        action = world.pick.choices(actions, weights)[0]
        world.history.append(f"{action.__name__} {name}")
        action(world, name)
    world.settle()
