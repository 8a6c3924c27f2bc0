"""Parts that are asked for together are read from one file with the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from reports.hosts.part_packs import CHANGING_DAYS, PACKS_MAX, PARTS_MIN, PartPacks
from reports.plan import PartOfDay, Parts
from shared.duckdb_engine import connect
from shared.generations.load import load_snapshot
from tests.builders.history import history
from tests.builders.logs import NOON

DAYS = PARTS_MIN + CHANGING_DAYS + 1


class Opened:
    """Opens parts of a directory, and remembers how many."""

    def __init__(self, root: Path) -> None:
        self.data = history(root, DAYS, NOON, "host")
        days = load_snapshot(self.data).days
        self.parts: Parts = tuple(
            PartOfDay("counters", day, part) for day in sorted(days) for part in days[day].counters
        )
        self.count = 0

    def __call__(self, parts: Sequence[PartOfDay]) -> list[str]:
        self.count += len(parts)
        return [str(self.data.part(each.kind, each.day, each.part.generation)) for each in parts]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    found = Opened(tmp_path_factory.mktemp("packs"))
    assert len(found.parts) == DAYS
    return found


def packs_in(place: Path, has_room: bool = True) -> PartPacks:
    return PartPacks(place / "it's", lambda _: has_room)


def rows(paths: list[str]) -> list[tuple[object, ...]]:
    with closing(connect(64 << 20, 1)) as database:
        return database.execute("FROM read_parquet($paths) ORDER BY ALL", {"paths": paths}).fetchall()


def test_parts_that_are_asked_for_again_are_in_one_file(tmp_path: Path, opened: Opened) -> None:
    packs = packs_in(tmp_path)
    first, second, third = (packs.open(opened.parts, opened) for _ in range(3))
    assert (len(first), len(second), second) == (DAYS, CHANGING_DAYS + 1, third)
    assert rows(first) == rows(second) != []
    opened.count = 0
    packs.open(opened.parts, opened)
    assert opened.count == CHANGING_DAYS


def test_other_parts_are_another_file(tmp_path: Path, opened: Opened) -> None:
    packs = packs_in(tmp_path)
    for parts in (opened.parts, opened.parts[1:], opened.parts[:-1]):
        found = [packs.open(parts, opened) for _ in range(2)]
        assert rows(found[0]) == rows(found[1])


def test_pack_of_a_part_that_no_host_has_any_more_is_deleted(tmp_path: Path, opened: Opened) -> None:
    packs = packs_in(tmp_path)
    pack = [packs.open(opened.parts, opened)[0] for _ in range(2)][1]
    names = {each.part.sha256 for each in opened.parts}
    packs.drop(names)
    assert Path(pack).exists()
    packs.drop(names - {opened.parts[0].part.sha256})
    assert not Path(pack).exists()
    assert len(packs.open(opened.parts, opened)) == DAYS


def test_few_packs_are_kept(tmp_path: Path, opened: Opened) -> None:
    packs = packs_in(tmp_path)
    newest = opened.parts[-1]
    for days in range(PACKS_MAX + 2):
        later = PartOfDay("counters", newest.day + timedelta(days=days), newest.part)
        for _ in range(2):
            packs.open((*opened.parts[: DAYS - 1], later), opened)
    assert len(list((tmp_path / "it's").iterdir())) == PACKS_MAX


def test_without_room_and_for_few_parts_the_parts_are_read(tmp_path: Path, opened: Opened) -> None:
    for packs, parts in ((packs_in(tmp_path, has_room=False), opened.parts), (packs_in(tmp_path), opened.parts[2:])):
        assert [len(packs.open(parts, opened)) for _ in range(3)] == [len(parts)] * 3
    assert packs_in(tmp_path).open((), opened) == []


def test_part_that_cannot_be_read_is_left_to_the_question(tmp_path: Path, opened: Opened) -> None:
    packs = packs_in(tmp_path)

    def lost(parts: Sequence[PartOfDay]) -> list[str]:
        return [str(tmp_path / each.part.sha256) for each in parts]

    assert [len(packs.open(opened.parts, lost)) for _ in range(3)] == [DAYS] * 3
