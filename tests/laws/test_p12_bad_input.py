"""P12: bad input is a 4xx that names the event and the reason; never a 500, never a
lost neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.builders.events import REJECTED
from tests.builders.server import Server
from tests.builders.wire import batch, event, keyed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("bad")) as running:
        yield running


def test_every_bad_event_is_rejected_by_code_and_field_and_its_neighbours_are_stored(server: Server) -> None:
    before = len(server.lines())
    for number, (case, (bad, code, field)) in enumerate(REJECTED.items()):
        left, right = (event(name=f"{side}-{number:03d}") for side in ("left", "right"))
        answer = server.exchange(keyed(batch(left, bad.encode("utf-8"), right)))
        assert answer.status == 200, case
        (rejected,) = answer.json()["rejected"]
        assert (rejected["index"], rejected["code"], rejected.get("field")) == (1, code, field), case
        assert rejected["detail"] and answer.json()["accepted"] == 2, case
    numbers = range(len(REJECTED))
    stored = [line["name"] for line in server.lines()[before:]]
    assert stored == [f"{side}-{number:03d}" for number in numbers for side in ("left", "right")]
    assert "Traceback" not in server.stderr()


def test_batch_of_nothing_but_bad_events_is_422(server: Server) -> None:
    before = server.lines()
    answer = server.exchange(keyed(batch(event(name=""), event(naem="x"))))
    assert answer.status == 422
    codes = [(each["index"], each["code"]) for each in answer.json()["rejected"]]
    assert codes == [(0, "name_too_short"), (1, "unknown_field")]
    assert server.lines() == before
