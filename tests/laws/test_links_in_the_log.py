"""A link or a pipe in the place of an active segment stops its writer and nothing else:
what is sealed is folded, and the operator is told which file it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from foldlog.doctor.data_findings import active_segments
from foldlog.preflight import check_formats
from shared.segments.recovery import NotASegment, not_segments, recover
from tests.builders.logs import data_directory, fold, line, sealed
from tests.builders.server import Server
from tests.builders.silent_log import SilentLog
from tests.builders.waiting import until


def test_link_in_place_of_a_segment_stops_its_writer_alone(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        assert server.post([{"name": "before"}]).status == 200
        active = server.data.active("0")
        active.rename(active.with_name("elsewhere"))
        active.symlink_to(tmp_path / "target")
        assert server.post([{"name": "refused"}]).status == 503
        assert server.fold() == 1
        ready = server.get("/readyz")
        assert ready.status == 503
        assert f"{active} is a symbolic link" in ready.body.decode()
        assert not (tmp_path / "target").exists()
        active.unlink()
        active.with_name("elsewhere").unlink()
        until(lambda: server.post([{"name": "after"}]).status == 200)


MADE: dict[str, Callable[[Path], object]] = {
    "a symbolic link": lambda path: path.symlink_to("/dev/zero"),
    "a pipe": os.mkfifo,
    "a directory": Path.mkdir,
}


@pytest.mark.parametrize("kind", MADE)
def test_what_is_no_file_is_named_and_what_is_sealed_is_folded(tmp_path: Path, kind: str) -> None:
    data, log = data_directory(tmp_path), SilentLog()
    MADE[kind](data.active("3"))
    sealed(data, [line("event-1")])
    check_formats(data)
    fold(data, log=log)
    assert log.warnings.count("segment_not_a_file") == 1
    with pytest.raises(NotASegment, match=f"active-3.ndjson is {kind}, not a file"):
        recover(data, "3")
    assert [found.found for found in active_segments(not_segments(data))] == [
        f"{data.active('3')} is {kind}, not a file: its writer takes no events"
    ]
