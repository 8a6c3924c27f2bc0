"""Parts of other hosts leave a day after their use, and at once with an erasure: what
they hold may have been erased where it was written.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from compactor.generations.history import UNUSED_S
from shared.disk.layout import DataDirectory
from shared.erasures import create_request
from tests.builders.erasure import VISITOR, erase
from tests.builders.logs import NOON, data_directory, fold, line, sealed


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    made = data_directory(tmp_path)
    made.hosts.mkdir()
    for name, age_s in (("a" * 64, UNUSED_S + 60), ("b" * 64, 60)):
        path = made.host_part(name)
        path.write_bytes(b"")
        os.utime(path, (time.time() - age_s, time.time()))
    sealed(made, [line("event-1", visitor=VISITOR)])
    return made


def test_pass_removes_what_nobody_used_for_a_day(data: DataDirectory) -> None:
    (data.hosts / "README").write_text("of an operator")
    fold(data)
    assert sorted(path.name for path in data.hosts.iterdir()) == ["README", f"{'b' * 64}.parquet"]


def test_erasure_removes_them_all(data: DataDirectory) -> None:
    fold(data)
    create_request(data, VISITOR, None)
    erase(data, NOON + 1000)
    assert list(data.hosts.iterdir()) == []
