"""Three hosts, a store, backups of all, and what really happened: the actions that an
interleaving is made of, and what was sent and ordered, which no host knows as a whole.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from compactor.claims.standing import Standing
from tests.claims import operators
from tests.claims.claiming import (
    LATENESS_DAYS,
    begin_claim,
    begin_publish,
    commit_claim,
    commit_publish,
    look_up_outcome,
)
from tests.claims.host import Host, PendingClaim
from tests.claims.rules import WINDOW, Rules
from tests.claims.store import Copy, Row, Store

INSTANCES = ("a", "b", "c")
BOTH_HOSTS = 0.1
ANSWERED = 0.85


@dataclass
class World:
    """Hosts, store, backups, and the truth that neither knows."""

    rules: Rules
    seed: int
    today: int = 0
    clock: int = 0
    names: Iterator[int] = field(default_factory=lambda: count(1))
    sent: dict[int, list[int]] = field(default_factory=dict)
    """Days of the acknowledged copies of each id."""
    ordered: set[int] = field(default_factory=set)
    excused: set[int] = field(default_factory=set)
    """Ids that may count once or not at all."""
    away_until: dict[str, int] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pick = random.Random(self.seed)
        self.store = Store(self.rules, {instance: Row() for instance in INSTANCES})
        self.hosts = {instance: Host(instance, self.rules, self.names) for instance in INSTANCES}
        self.back_up_all()

    def back_up_all(self) -> None:
        self.store_backup = self.store.backup()
        self.host_backups = {instance: host.backup() for instance, host in self.hosts.items()}

    def present(self) -> list[Host]:
        """Hosts that are on; never none."""
        hosts = list(self.hosts.values())
        return [host for host in hosts if self.away_until.get(host.instance, 0) <= self.today] or hosts

    # Clients

    def send(self, host: Host) -> None:
        """A new id; one in ten goes to a second host on a neighbouring day as well."""
        id_ = len(self.sent) + 1
        self.deliver(host, id_, self.today - self.pick.choice([0, 0, 0, 1, 2, 3]))
        if self.pick.random() < BOTH_HOSTS:
            self._send_copy(self.pick.choice(self.present()), id_)

    def send_again(self, host: Host) -> None:
        """A copy of an id of the last days, often of one that was erased since."""
        recent = [id_ for id_, days in self.sent.items() if max(days) >= self.today - LATENESS_DAYS]
        ordered = [id_ for id_ in recent if id_ in self.ordered]
        if ordered and self.pick.random() < 0.5:
            self._send_copy(host, self.pick.choice(ordered))
        elif recent:
            self._send_copy(host, self.pick.choice(recent))

    def _send_copy(self, host: Host, id_: int) -> None:
        days = self.sent[id_]
        oldest = max(max(days) - WINDOW, self.today - LATENESS_DAYS)
        newest = min(min(days) + WINDOW, self.today)
        if oldest <= newest:
            self.deliver(host, id_, self.pick.randint(oldest, newest))

    def deliver(self, host: Host, id_: int, day: int) -> None:
        self.sent.setdefault(id_, []).append(day)
        self.clock += 10
        received = (self.clock + self.pick.randint(-40, 40)) * 1000 + self.pick.randint(0, 999)
        host.receive(id_, Copy(day, received))

    # Hosts

    def fold(self, host: Host) -> None:
        host.fold(self.pick.randint(1, 5))

    def fetch(self, host: Host) -> None:
        if host.pending is None and not host.to_yield:
            host.fetch(self.store)

    def advance(self, host: Host) -> None:
        """The next step of a host towards the store."""
        if host.pending is not None:
            self.commit(host, is_answered=self.pick.random() < ANSWERED)
        elif host.to_yield:
            host.yield_generation()
        elif self.pick.random() < 0.5:
            begin_claim(host, self.store)
        else:
            begin_publish(host, self.store, self.today)

    def commit(self, host: Host, *, is_answered: bool = True) -> None:
        if isinstance(host.pending, PendingClaim):
            commit_claim(host, self.store, is_answered=is_answered)
        elif host.pending is not None:
            commit_publish(host, self.store, is_answered=is_answered)

    def crash(self, host: Host) -> None:
        host.crash()

    def go_away(self, host: Host) -> None:
        if len(self.present()) > 1:
            host.crash()
            self.away_until[host.instance] = self.today + 7

    # Disasters and operators

    def pass_day(self, _host: Host) -> None:
        """A day passes, with a backup of everything now and then."""
        self.today += 1
        if self.pick.random() < 0.7:
            self.back_up_all()

    def restore_host(self, host: Host) -> None:
        self.hosts[host.instance] = self.host_backups[host.instance].backup()
        self.excuse()

    def restore_store(self, _host: Host) -> None:
        self.store = self.store_backup.backup()
        self.excuse()

    def lose_disk(self, host: Host) -> None:
        self.hosts[host.instance] = operators.lose_disk(host, self.names)
        operators.take_over(self.hosts[host.instance], self.store)
        self.excuse()

    def take_over(self, host: Host) -> None:
        if look_up_outcome(host, self.store) is Standing.REFUSED:
            operators.take_over(host, self.store)

    def rebuild(self, host: Host) -> None:
        if look_up_outcome(host, self.store) is Standing.AS_NOTED:
            operators.rebuild(host, self.store)

    def retire(self, host: Host) -> None:
        """One host at most goes for ever."""
        if len(self.hosts) == len(INSTANCES):
            del self.hosts[host.instance]
            operators.retire(host.instance, self.store, self.names)
            self.excuse()

    def erase(self, host: Host) -> None:
        held = sorted({line.id_ for line in host.log} - self.ordered)
        if held:
            id_ = self.pick.choice(held)
            self.order(id_)

    def order(self, id_: int) -> None:
        self.ordered.add(id_)
        operators.order_erasure(id_, self.store, self.names)

    def prune(self, _host: Host) -> None:
        self.store.prune(self.today)

    # The truth

    def excuse(self) -> None:
        """After a loss: the ids of which no copy is left, the orders that are lost."""
        published = self.store.published
        states = [host.state for host in self.hosts.values()]
        states += [state for instance, state in published.items() if instance in self.hosts]
        held = {id_ for state in states for id_ in [*state.counted, *state.yielded]}
        held |= {id_ for state in published.values() for id_ in state.counted}
        held |= {line.id_ for host in self.hosts.values() for line in host.log}
        self.excused |= set(self.sent) - held - self.known_erased()
        orders = self.store.open_orders() | {id_ for host in self.hosts.values() for id_ in host.orders.values()}
        self.excused |= self.ordered - self.known_erased() - orders

    def known_erased(self) -> set[int]:
        states = [*(host.state for host in self.hosts.values()), *self.store.published.values()]
        return {id_ for state in states for id_ in state.erased}
