"""Readers without the lock while visitors are erased: the parts of their snapshot may
be deleted.
"""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from foldlog.cli import main
from reports.reader.process import answer_report, write_export
from reports.reader.protocol import ReaderRequest, ReaderResponse
from shared.disk.layout import DataDirectory
from shared.erasures import create_request
from shared.generations import consistent_read
from shared.generations.load import load_snapshot
from shared.generations.snapshot import Snapshot
from shared.status import missing_parts_warning
from tests.builders.erasure import erase
from tests.builders.logs import NOON, data_directory, fold, line, sealed
from tests.builders.server import environment, run_foldlog

VISITORS = 2 * consistent_read.TRIES + 4


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDirectory:
    data = data_directory(tmp_path / "data")
    sealed(data, [line(f"event-{n}", NOON, visitor=f"visitor-{n}") for n in range(VISITORS)])
    fold(data, NOON + 1000)
    monkeypatch.setenv("FOLDLOG_DATA_DIR", str(data.root))
    return data


# Each try of a reader needs an erasure: of fewer tries than in service, fewer.
TRIES = 2


def erase_after_load(data: DataDirectory, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Erase a visitor after a reader loads the snapshot and before it reads the parts,
    so many times.
    """
    left = list(range(times))

    def load_and_lose(asked: DataDirectory) -> Snapshot:
        snapshot = load_snapshot(asked)
        if left:
            create_request(data, f"visitor-{left.pop()}", None)
            erase(data)
        return snapshot

    monkeypatch.setattr(consistent_read, "load_snapshot", load_and_lose)


@pytest.mark.parametrize("format_", ["ndjson", "csv", "parquet"])
def test_export_is_of_the_next_snapshot(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], format_: str
) -> None:
    erase_after_load(data, monkeypatch, 1)
    assert main(["export", "--from", "2026-11-01", "--to", "2026-11-30", "--format", format_]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    if format_ == "parquet":
        assert out.startswith(b"PAR1")
    else:
        assert out.count(b"\n") == VISITORS - 1 + (format_ == "csv")


def test_report_is_of_the_next_snapshot(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    erase_after_load(data, monkeypatch, 1)
    assert main(["report", "--from", "2026-11-01", "--to", "2026-11-30", "--by", "props.x", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["total"]["events"], report["generation"]) == (VISITORS - 1, load_snapshot(data).generation)


def test_dry_run_of_an_erasure_is_of_the_next_snapshot(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    erase_after_load(data, monkeypatch, 1)
    assert main(["erase", "--visitor", "visitor-7", "--dry-run"]) == 0
    assert "would erase 1 event on 1 day" in capfd.readouterr().out


def test_export_that_loses_its_parts_every_time_exits_with_try_again(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(consistent_read, "TRIES", TRIES)
    erase_after_load(data, monkeypatch, 2 * TRIES)
    assert main(["export", "--from", "2026-11-01", "--to", "2026-11-30"]) == 75
    out, err = capfd.readouterr()
    assert out == ""
    assert "try again" in err and "rebuild" not in err  # nothing is damaged


def request(data: DataDirectory, kind: str) -> ReaderRequest:
    parameters = (
        {"from": "2026-11-01", "to": "2026-11-30", "by": "props.x"} if kind == "report" else {"from": "2026-11-01"}
    )
    form = "json" if kind == "report" else "ndjson"
    return ReaderRequest(kind, str(data.root), "UTC", 64 << 20, 0, form, parameters, datetime.now(UTC))  # type: ignore[arg-type]


@pytest.mark.long
def test_reader_process_reads_the_next_snapshot(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    erase_after_load(data, monkeypatch, 2)
    out = io.BytesIO()
    assert write_export(request(data, "export"), out) == 0
    _, *events = out.getvalue().splitlines()
    assert len(events) == VISITORS - 2


@pytest.mark.long
def test_reader_process_that_never_gets_to_the_parts_says_so(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consistent_read, "TRIES", TRIES)
    erase_after_load(data, monkeypatch, 2 * TRIES)
    answer, _ = answer_report(request(data, "report"))
    assert (answer.code, "try again" in answer.detail) == ("report_failed", True)


def test_export_that_loses_its_parts_every_time_says_so_instead(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consistent_read, "TRIES", TRIES)
    erase_after_load(data, monkeypatch, 2 * TRIES)
    out = io.BytesIO()
    assert write_export(request(data, "export"), out) == 0
    (response,) = out.getvalue().splitlines()
    answer = msgspec.json.decode(response, type=ReaderResponse)
    assert (answer.code, "try again" in answer.detail) == ("report_failed", True)


def test_parts_deleted_by_an_erasure_are_not_missing(data: DataDirectory) -> None:
    before = load_snapshot(data)
    create_request(data, "visitor-1", None)
    erase(data)
    assert missing_parts_warning(data, before) is None

    now = load_snapshot(data)
    next(data.archive.glob("*/*.parquet")).unlink()
    assert "1 parts that snapshot.json references are missing" in str(missing_parts_warning(data, now))


@pytest.mark.long
@pytest.mark.parametrize("command", ["rotate", "export"])
def test_wrong_data_directory_is_not_an_empty_one(tmp_path: Path, command: str) -> None:
    refused = run_foldlog([command], environment(tmp_path / "nowhere"))
    assert refused.returncode == 2
    assert "nowhere is not a data directory of Foldlog" in refused.stderr
    assert not (tmp_path / "nowhere").exists()
