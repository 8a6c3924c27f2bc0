"""Some stories of the state machine (tests/faults/machine.py): whatever is done to a
directory, I1 to I7 hold after each crash.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, settings

from ingest.collect.encode import encode_lines
from tests.builders.logs import line
from tests.faults.machine import DataDirectoryMachine, flip_a_bit

pytestmark = pytest.mark.crash

TestDataDirectory = pytest.mark.long(pytest.mark.timeout(900)(DataDirectoryMachine.TestCase))
TestDataDirectory.settings = settings(
    max_examples=8, stateful_step_count=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def test_flipped_bit_excuses_the_line_that_it_hit_and_no_other() -> None:
    content = encode_lines([line("event-1"), line("event-2"), line("event-3")])
    excused = set()
    for number in range(200):
        tree: dict[str, bytes | None] = {"log": None, "log/20261122T120000Z-0-0000000001.ndjson": content}
        hit = flip_a_bit(tree, random.Random(number))
        assert tree["log/20261122T120000Z-0-0000000001.ndjson"] != content
        assert len(hit) <= 2  # two when it was the newline between them
        excused |= hit
    assert excused == {"event-1", "event-2", "event-3"}
