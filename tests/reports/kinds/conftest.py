"""A directory with random events of two months, in several parts a day."""

from __future__ import annotations

import pytest

from tests.builders.kinds import LAST, Folded, make_events
from tests.builders.logs import data_directory, fold, sealed


@pytest.fixture(scope="session")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Folded:
    data = data_directory(tmp_path_factory.mktemp("kinds"))
    events = make_events()
    for lines in (events[::2], events[1::2]):
        sealed(data, lines)
        fold(data, LAST)
    return Folded(data, events)
