"""Slots of questions: so many over all workers, one fewer of one token, and none is
lost with a worker that dies.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from reports.reader.slots import ReaderSlots
from shared.rate_table import make_table

ONE, OTHER = b"one-token", b"another-token"


def taken(slots: ReaderSlots, owner: bytes, times: int) -> int:
    return sum(slots.take(owner) is not None for _ in range(times))


@pytest.mark.parametrize(("count", "of_one"), [(4, 3), (2, 1), (1, 1)])
def test_one_token_leaves_a_slot_to_others(count: int, of_one: int) -> None:
    slots = ReaderSlots(count)
    assert taken(slots, ONE, 10) == of_one
    assert taken(slots, OTHER, 10) == count - of_one


def test_workers_share_the_slots_and_the_share_of_a_token() -> None:
    table = make_table()
    first, second = ReaderSlots(4, table), ReaderSlots(4, table)
    assert taken(first, ONE, 2) == 2
    assert taken(second, ONE, 9) == 1
    assert taken(second, OTHER, 9) == 1
    assert taken(first, OTHER, 9) == 0


def test_slot_that_is_given_back_can_be_taken_by_another_worker() -> None:
    table = make_table()
    first, second = ReaderSlots(1, table), ReaderSlots(1, table)
    slot = first.take(ONE)
    assert slot is not None
    assert second.take(OTHER) is None
    first.give_back(slot)
    assert second.take(OTHER) is not None


def test_slots_of_a_worker_that_dies_are_free() -> None:
    table = make_table()
    code = (
        "import os, sys; from reports.reader.slots import ReaderSlots; slots = ReaderSlots(2, int(sys.argv[1])); "
        "print([slots.take(b'a'), slots.take(b'b')], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(table)], pass_fds=(table,), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"[0, 1]\n"
        slots = ReaderSlots(2, table)
        assert slots.take(ONE) is None
        worker.kill()
        worker.wait()
    assert taken(slots, ONE, 5) == 1


def test_memory_of_another_version_is_not_used() -> None:
    other = os.memfd_create("other", 0)
    os.truncate(other, 4096)
    slots = ReaderSlots(1, other)
    assert slots.take(ONE) is not None
    assert os.pread(other, 4096, 0) == bytes(4096)
