"""What is said of a store follows from the note of the publisher, and from the kept
snapshots where there is none.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from shared.disk.layout import DataDirectory
from shared.generations.snapshot import Snapshot
from shared.settings import Settings
from shared.stores.condition import StoreStatus, store_status, store_warning
from shared.stores.state import StoreState
from shared.timestamps import now_ms, rfc3339

ADDRESS = "sqlite:///a.db"
LATE = StoreStatus(ADDRESS, 3, None, None, 400.0, 0, None, False, 0, None)
SETTINGS = Settings(store=ADDRESS, fold_interval=60)
WARNINGS: dict[str, tuple[StoreStatus | None, str | None]] = {
    "no store": (None, None),
    "not late yet": (msgspec.structs.replace(LATE, lag_s=180.0, failures=9, error="down"), None),
    "down": (
        msgspec.structs.replace(LATE, failures=9, error="it is down"),
        "behind for 400 s and holds generation 3 of 5: 9 tries failed, the last with: it is down",
    ),
    "waits": (msgspec.structs.replace(LATE, waiting_ids=7), "generation 3 of 5: 7 ids wait until a pass"),
    "no compactor": (msgspec.structs.replace(LATE, generation=0), "nothing of this host yet: no try has ended"),
    "refused": (
        msgspec.structs.replace(LATE, lag_s=0.0, refused=True, failures=1, error="type this"),
        "takes nothing of this host: type this",
    ),
}


@pytest.mark.parametrize(("found", "expected"), WARNINGS.values(), ids=WARNINGS)
def test_warning_says_why(found: StoreStatus | None, expected: str | None) -> None:
    text = store_warning(found, 5, SETTINGS)
    assert text is None if expected is None else expected in str(text)


def lag_s(data: DataDirectory, state: StoreState | None, newest: Snapshot) -> float:
    if state is not None:
        data.store_state.write_bytes(msgspec.json.encode(state))
    found = store_status(data, Settings(data_dir=data.root, store=ADDRESS), newest)
    assert found is not None
    return found.lag_s


def seconds_ago(seconds: float) -> str:
    return rfc3339(now_ms() - round(seconds * 1000))


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    data = DataDirectory(tmp_path)
    data.run.mkdir()
    return data


def test_lag_is_that_of_the_first_generation_that_is_lacked(data: DataDirectory) -> None:
    newest = Snapshot(generation=5, as_of=seconds_ago(10))
    assert lag_s(data, StoreState(ADDRESS, 5), newest) == 0.0
    assert 10 <= lag_s(data, StoreState(ADDRESS, 4), newest) < 100
    assert 500 <= lag_s(data, StoreState(ADDRESS, 3, behind_since=seconds_ago(500)), newest) < 600
    assert 10 <= lag_s(data, StoreState(ADDRESS, 3, behind_since="nonsense"), newest) < 100


def test_lag_grows_where_no_publisher_notes_anything(data: DataDirectory) -> None:
    for generation, age_s in ((3, 900), (4, 300)):
        kept = data.kept_snapshot(generation)
        kept.touch()
        os.utime(kept, ns=((now_ms() - age_s * 1000) * 1_000_000,) * 2)
    newest = Snapshot(generation=5, as_of=seconds_ago(10))
    assert 300 <= lag_s(data, StoreState(ADDRESS, 3), newest) < 400
    data.store_state.unlink()
    assert 900 <= lag_s(data, None, newest) < 1000


def test_directory_without_a_generation_lacks_none(data: DataDirectory) -> None:
    assert lag_s(data, None, Snapshot()) == 0.0
