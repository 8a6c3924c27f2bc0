"""The oracle sees each invariant broken: it is shown a small real directory, and the
same one with one thing wrong.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingest.collect.encode import encode_lines
from ingest.wal.active_segment import ActiveSegment
from shared.disk.layout import DataDirectory
from shared.segments.recovery import next_sequence
from tests.builders.logs import data_directory, fold_all, line, sealed
from tests.faults.oracle import Ledger, Violations, acknowledged, find_violations, intended

FOLDED = [f"folded-{number}" for number in range(6)]
WAITING = [f"waiting-{number}" for number in range(3)]
OPEN = [f"open-{number:05d}" for number in range(3)]
ALL = set(FOLDED + WAITING + OPEN)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generations, two sealed segments that are not folded, and an active one whose
    writer is dead.
    """
    data = data_directory(tmp_path_factory.mktemp("oracle") / "data")
    sealed(data, [line(id_) for id_ in FOLDED[:4]])
    fold_all(data)
    sealed(data, [line(id_) for id_ in FOLDED[3:]])  # one of them is a duplicate
    fold_all(data)
    sealed(data, [line(WAITING[0])])
    sealed(data, [line(id_) for id_ in WAITING[1:]])
    active = ActiveSegment(data, "0", next_sequence(data, "0"), "fsync")
    active.commit(encode_lines([line(id_) for id_ in OPEN]), len(OPEN))
    active.close()
    return data.root


@pytest.fixture
def data(original: Path, tmp_path: Path) -> DataDirectory:
    shutil.copytree(original, tmp_path / "data")
    return DataDirectory(tmp_path / "data")


def look_at(data: DataDirectory) -> Violations:
    return find_violations(data.root, ALL, ALL, generation=2)


def test_a_directory_in_order_has_nothing_to_be_said_about(data: DataDirectory) -> None:
    assert not look_at(data), look_at(data)


def snapshot(data: DataDirectory) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(data.snapshot.read_bytes())
    return read


def rewrite(data: DataDirectory, changed: dict[str, Any]) -> None:
    data.snapshot.write_text(json.dumps(changed))


def parts(data: DataDirectory, kind: str) -> list[Path]:
    """Those that the snapshot names."""
    found = []
    for day, kept in snapshot(data)["days"].items():
        found += [data.root / kind / day / f"g{part['generation']:010d}.parquet" for part in kept[kind]]
    return found


def unfolded(data: DataDirectory, number: int) -> Path:
    """The segment of that sequence number."""
    (path,) = data.log.glob(f"*-0-{number:010d}.ndjson")
    return path


def change_part(data: DataDirectory, kind: str, sql: str) -> None:
    """Replace the newest part of a kind, and its hash in the snapshot: only its content
    is wrong then.
    """
    path = parts(data, kind)[-1]
    beside = path.with_suffix(".new")
    part = f"read_parquet('{path}')"
    with duckdb.connect() as database:
        database.execute(f"COPY ({sql.format(part)}) TO '{beside}' (FORMAT parquet)")
    old, new = (hashlib.sha256(file.read_bytes()).hexdigest() for file in (path, beside))
    beside.rename(path)
    data.snapshot.write_text(data.snapshot.read_text().replace(old, new))


def lose_line_of_log(data: DataDirectory) -> None:
    path = unfolded(data, 4)
    path.write_bytes(path.read_bytes().partition(b"\n")[2])


def tear_line(data: DataDirectory) -> None:
    path = data.active("0")
    path.write_bytes(path.read_bytes()[:-1])


def flip_bit_of_line(data: DataDirectory) -> None:
    path = unfolded(data, 3)
    path.write_bytes(path.read_bytes().replace(b'"pageview"', b'"qageview"'))


def lose_event(data: DataDirectory) -> None:
    change_part(data, "archive", "SELECT * FROM {} WHERE client_id <> 'folded-5'")
    unfolded(data, 2).unlink()


def repeat_event(data: DataDirectory) -> None:
    change_part(data, "archive", "SELECT * FROM {0} UNION ALL SELECT * FROM {0} WHERE client_id = 'folded-5'")


def make_event_up(data: DataDirectory) -> None:
    change_part(data, "archive", "SELECT * REPLACE (replace(client_id, 'folded-5', 'made-up-5') AS client_id) FROM {}")


def make_line_up(data: DataDirectory) -> None:
    with data.active("0").open("ab") as file:
        file.write(encode_lines([line("made-up-line")]))


def miscount(data: DataDirectory) -> None:
    change_part(data, "counters", "SELECT * REPLACE (events + 1 AS events) FROM {}")


def lose_part(data: DataDirectory) -> None:
    parts(data, "archive")[0].unlink()


def lose_counters(data: DataDirectory) -> None:
    parts(data, "counters")[0].unlink()


def alter_part(data: DataDirectory) -> None:
    path = parts(data, "archive")[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_snapshot(data: DataDirectory) -> None:
    data.snapshot.write_bytes(data.snapshot.read_bytes()[:-40])


def lose_snapshot(data: DataDirectory) -> None:
    data.snapshot.unlink()


def go_back(data: DataDirectory) -> None:
    data.snapshot.write_bytes(data.kept_snapshot(1).read_bytes())


def delete_unfolded(data: DataDirectory) -> None:
    """The events were in two segments each, so that only the numbers can tell."""
    unfolded(data, 4).write_bytes(unfolded(data, 4).read_bytes() + unfolded(data, 3).read_bytes())
    unfolded(data, 3).unlink()


def forget_waiting(data: DataDirectory) -> None:
    rewrite(data, snapshot(data) | {"folded": {"0": 5}, "missing": {"0": [3, 5]}})


BREAKAGES: list[tuple[Callable[[DataDirectory], None], dict[str, set[str]], str]] = [
    (lose_line_of_log, {"lost": {"waiting-1"}}, ""),
    (tear_line, {"lost": {"open-00002"}}, ""),
    (flip_bit_of_line, {"lost": {"waiting-0"}}, ""),
    (lose_event, {"lost": {"folded-5"}}, "I4: the counters"),
    (repeat_event, {"double": {"folded-5"}}, "I4: the counters"),
    (make_event_up, {"phantom": {"made-up-5"}}, ""),
    (make_line_up, {"phantom": {"made-up-line"}}, ""),
    (miscount, {}, "I4: the counters"),
    (lose_part, {}, "I5: archive/2026-11-22/g0000000001.parquet: No such file"),
    (lose_counters, {}, "I5: counters/2026-11-22/g0000000001.parquet: No such file"),
    (alter_part, {}, "I5: archive/2026-11-22/g0000000001.parquet differs"),
    (cut_snapshot, {}, "I5: snapshot.json is not"),
    (lose_snapshot, {}, "I5: generation 0 after 2"),
    (go_back, {}, "I5: generation 1 after 2"),
    (delete_unfolded, {}, "I6: segment 3 of writer 0 is gone"),
    (forget_waiting, {}, "I6: segment 5 of writer 0 was never folded"),
]


@pytest.mark.parametrize(("break_it", "ids", "broken"), BREAKAGES, ids=[row[0].__name__ for row in BREAKAGES])
def test_oracle_sees(
    data: DataDirectory, break_it: Callable[[DataDirectory], None], ids: dict[str, set[str]], broken: str
) -> None:
    break_it(data)
    violations = look_at(data)
    assert violations
    found = {"lost": violations.lost, "double": violations.double, "phantom": violations.phantom}
    assert {kind: set(each) for kind, each in found.items() if each} == ids, violations
    assert any(what.startswith(broken) for what in violations.broken) if broken else not violations.broken, violations


def test_after_a_fold_the_log_alone_is_not_enough(data: DataDirectory) -> None:
    assert find_violations(data.root, ALL, ALL, folded=True).lost == frozenset(WAITING + OPEN)
    data.active("0").unlink()
    fold_all(data)
    assert not find_violations(data.root, ALL, set(FOLDED + WAITING), folded=True, generation=3)


def test_unknown_ids_may_be_there_or_not(data: DataDirectory) -> None:
    assert not find_violations(data.root, ALL | {"never-arrived"}, ALL - {"open-00000"})


def test_half_a_line_of_a_ledger_is_nobodys_id(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "client")
    ledger.intend(["event-1", "event-2"])
    ledger.acknowledge(["event-1"])
    ledger.close()
    with (tmp_path / "client.intended").open("a") as file:
        file.write("event-3-of-a-cli")
    assert intended(tmp_path) == {"event-1", "event-2"}
    assert acknowledged(tmp_path) == {"event-1"}
