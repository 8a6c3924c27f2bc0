"""Valid lines of a damaged segment count, the others are quarantined (P2)."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from shared.generations.load import load_snapshot
from shared.settings import Settings
from shared.status import Balance, read_status
from tests.builders.archive import archived, assert_verified
from tests.builders.logs import data_directory, fold, line, sealed
from tests.builders.silent_log import SilentLog


def test_bad_lines_of_a_damaged_segment_are_quarantined_and_valid_ones_count(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    name = sealed(data, [line(f"event-{number}") for number in range(5)])
    path = data.log / name.file
    content = bytearray(path.read_bytes())
    lines = content.splitlines(keepends=True)
    position = len(lines[0]) + len(lines[1]) + 30
    content[position] ^= 1
    path.write_bytes(content)
    log = SilentLog()
    fold(data, log=log)
    assert [row[0] for row in archived(data)] == ["event-0", "event-1", "event-3", "event-4"]
    (kept,) = data.quarantine.iterdir()
    assert f'"offset":{len(lines[0]) + len(lines[1])}' in kept.read_text() and "CRC" in kept.read_text()
    assert "segment_damaged" in log.events()
    status = read_status(data, Settings(data_dir=tmp_path))
    assert status.balance == Balance(
        accepted=5,
        counted=4,
        duplicates=0,
        quarantined=1,
        erased=0,
        set_aside=0,
        not_yet_folded=0,
        difference=0,
        conflicts=0,
    )
    assert status.segments.damaged == 1


@pytest.mark.parametrize("wrong", [{"daily": "perhaps"}, {"value": "much"}], ids=["daily", "value"])
def test_line_with_a_field_of_another_type_is_quarantined_though_its_crc_is_right(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    data = data_directory(tmp_path)
    sealed(data, [line("event-1"), line("event-2", **wrong), line("event-3", daily=True)])
    fold(data)
    assert [row[0] for row in archived(data)] == ["event-1", "event-3"]
    assert load_snapshot(data).totals.quarantined == 1


def test_segment_without_checksum_is_read_line_by_line(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    name = sealed(data, [line("event-1")])
    (data.log / name.checksum).unlink()
    fold(data)
    assert load_snapshot(data).totals.counted == 1
    assert load_snapshot(data).totals.damaged_segments == 1


def test_line_that_contains_its_neighbour_is_not_counted_and_the_neighbour_is(tmp_path: Path) -> None:
    """Two lines whose newline became a space still parse as the first of them in
    DuckDB.
    """
    data = data_directory(tmp_path)
    name = sealed(data, [line("event-1"), line("event-2"), line("event-3")])
    path = data.log / name.file
    path.write_bytes(path.read_bytes().replace(b"}\n{", b"} {", 1))
    fold(data)
    assert [row[0] for row in archived(data)] == ["event-2", "event-3"]
    assert load_snapshot(data).totals.quarantined == 1


def test_gzipped_segment_folds_as_the_plain_one(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    name = sealed(data, [line("event-1"), line("event-2")])
    plain = data.log / name.file
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    fold(data)
    assert load_snapshot(data).totals.counted == 2
    assert load_snapshot(data).totals.damaged_segments == 0
    assert_verified(data)


def test_readable_lines_of_a_cut_gzipped_segment_count(tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    name = sealed(data, [line(f"event-{number:04d}", visitor=os.urandom(30).hex()) for number in range(500)])
    plain = data.log / name.file
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes())[:-2000])
    plain.unlink()
    fold(data)
    assert 0 < load_snapshot(data).totals.counted < 500
    assert load_snapshot(data).totals.quarantined >= 1
