"""A server that the kernel kills for its memory: what it had acknowledged is there
after the next start, once.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import out_of_memory

pytestmark = [pytest.mark.crash, pytest.mark.component, pytest.mark.long]


def test_server_without_memory_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    if reason := out_of_memory.missing():
        pytest.skip(reason)  # also in CI: not every machine lets its root limit memory so
    outcome = out_of_memory.run(tmp_path, 2, seed=2)
    assert outcome.runs == 2
    assert outcome.failures == []
