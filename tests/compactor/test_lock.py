"""One compactor at a time."""

from __future__ import annotations

import threading
from pathlib import Path

from compactor.lock import CompactorBusy, compactor_lock
from compactor.process import Compactor
from shared.settings import Settings
from tests.builders.logs import data_directory
from tests.builders.silent_log import SilentLog


def test_only_one_compactor_at_a_time(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    errors = []

    def second() -> None:
        try:
            with compactor_lock(data):
                pass
        except CompactorBusy as error:
            errors.append(str(error))

    with compactor_lock(data):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(errors) == 1


def test_start_waits_for_a_lock_that_is_soon_free(tmp_path: Path) -> None:
    """`foldlog compress` holds it for one segment at a time."""
    data = data_directory(tmp_path)
    has_it, is_enough = threading.Event(), threading.Event()

    def compress() -> None:
        with compactor_lock(data):
            has_it.set()
            is_enough.wait(60)

    other = threading.Thread(target=compress)
    other.start()
    assert has_it.wait(60)
    threading.Timer(0.3, is_enough.set).start()
    Compactor(data, Settings(data_dir=data.root), SilentLog()).begin()
    other.join()
