"""goals.json: changes of many processes at once, limits, and what a damaged one
costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.disk.layout import DataDirectory
from shared.disk.locks import owner_lock
from shared.kept_entries import FILE_MAX_BYTES, EntriesBusy, NoRoomForEntries, TooManyEntries
from shared.named_filters import (
    ENTRIES_MAX,
    FILTER_MAX,
    NAME_MAX,
    NamedFilter,
    delete_named_filter,
    of_kind,
    put_named_filter,
    read_named_filters,
)
from tests.builders.logs import data_directory

EACH = 20
PUT = """
import sys
from pathlib import Path
from shared.disk.layout import DataDirectory
from shared.named_filters import NamedFilter, put_named_filter
for number in range(int(sys.argv[3])):
    put_named_filter(DataDirectory(Path(sys.argv[1])), NamedFilter("goal", f"{sys.argv[2]} {number}", "path==/"))
"""


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return data_directory(tmp_path / "data")


def goal(name: str, filter_: str = "path==/", value: float | None = None) -> NamedFilter:
    return NamedFilter("goal", name, filter_, value)


def test_none_that_was_kept_is_lost_by_another_process(data: DataDirectory) -> None:
    command = [sys.executable, "-c", PUT, str(data.root)]
    makers = [subprocess.Popen([*command, name, str(EACH)]) for name in "abc"]
    assert [each.wait() for each in makers] == [0, 0, 0]
    found = read_named_filters(data)
    assert {each.name for each in of_kind(found, "goal")} == {f"{name} {n}" for name in "abc" for n in range(EACH)}
    assert found.damage == ""


def test_entry_replaces_that_of_its_kind_and_name(data: DataDirectory) -> None:
    assert not put_named_filter(data, goal("a"))
    assert not put_named_filter(data, NamedFilter("filter", "a", "path==/f"))
    assert put_named_filter(data, goal("a", "path==/b", 2.5))
    found = read_named_filters(data)
    assert (of_kind(found, "goal"), of_kind(found, "filter")) == (
        (goal("a", "path==/b", 2.5),),
        (NamedFilter("filter", "a", "path==/f"),),
    )
    assert delete_named_filter(data, "goal", "a")
    assert not delete_named_filter(data, "goal", "a")
    assert read_named_filters(data).entries == (NamedFilter("filter", "a", "path==/f"),)


def test_largest_entries_of_both_kinds_fit(data: DataDirectory) -> None:
    """Four bytes a character; of each kind one more is refused, and one may still be
    replaced.
    """
    text = "\U0001f600" * (FILTER_MAX - 6)
    for kind in ("goal", "filter"):
        for number in range(ENTRIES_MAX):
            name = f"{number:03}".ljust(NAME_MAX, "\U0001f600")
            put_named_filter(data, NamedFilter(kind, name, f"path=={text}"))
        with pytest.raises(TooManyEntries):
            put_named_filter(data, NamedFilter(kind, "one more", "path==/"))
    assert put_named_filter(data, goal("000".ljust(NAME_MAX, "\U0001f600"), "path==/"))
    assert data.goals.stat().st_size < FILE_MAX_BYTES
    assert len(read_named_filters(data).entries) == 2 * ENTRIES_MAX


# What an operator may have written, and how many entries are read of it and left.
EDITED: dict[str, tuple[str, int, int]] = {
    "a kind that is none": ('[{"kind":"gaol","name":"a","filter":"b"}]', 0, 1),
    "no name": ('[{"kind":"goal","name":"","filter":"b"},{"kind":"goal","name":"a","filter":"b"}]', 1, 1),
    "a name with a line break": ('[{"kind":"goal","name":"a\\n","filter":"b"}]', 0, 1),
    "a long name": (f'[{{"kind":"goal","name":"{"a" * (NAME_MAX + 1)}","filter":"b"}}]', 0, 1),
    "a long filter": (f'[{{"kind":"goal","name":"a","filter":"{"a" * (FILTER_MAX + 1)}"}}]', 0, 1),
    "a value that is none": ('[{"kind":"goal","name":"a","filter":"b","value":1e400}]', 0, 1),
    "a field more": ('[{"kind":"goal","name":"a","filter":"b","worth":1}]', 0, 1),
    "a name twice": ('[{"kind":"goal","name":"a","filter":"b"},{"kind":"goal","name":"a","filter":"c"}]', 1, 1),
    "numbers": ("[1,2,null]", 0, 3),
    "a thousand goals": (
        json.dumps([{"kind": "goal", "name": f"{n}", "filter": "path!=/a"} for n in range(1_000)]),
        ENTRIES_MAX,
        1_000 - ENTRIES_MAX,
    ),
}


@pytest.mark.parametrize(("content", "read", "left"), EDITED.values(), ids=EDITED)
def test_bad_entry_costs_itself_alone_and_stays(data: DataDirectory, content: str, read: int, left: int) -> None:
    data.goals.write_text(content, "utf-8")
    found = read_named_filters(data)
    assert (len(found.entries), len(found.bad)) == (read, left)
    assert f"has {left} of {read + left} entries" in found.damage
    before = sorted(map(bytes, found.bad))
    put_named_filter(data, NamedFilter("filter", "new", "path==/"))
    after = read_named_filters(data)
    assert sorted(map(bytes, after.bad)) == before
    assert after.entries == (*found.entries, NamedFilter("filter", "new", "path==/"))


def make_large(data: DataDirectory) -> None:
    data.goals.write_bytes(b"[" + b" " * FILE_MAX_BYTES + b"]")


LOST: dict[str, Callable[[DataDirectory], object]] = {
    "no JSON": lambda data: data.goals.write_bytes(b"[{"),
    "no list": lambda data: data.goals.write_bytes(b"{}"),
    "half a character": lambda data: data.goals.write_bytes(b'["\\ud800"]'),
    "nested": lambda data: data.goals.write_bytes(b"[" * 100_000),
    "large": make_large,
    "a pipe": lambda data: os.mkfifo(data.goals),
    "a directory": lambda data: data.goals.mkdir(),
    "a link": lambda data: data.goals.symlink_to("/etc/hostname"),
}


@pytest.mark.parametrize("damage", LOST.values(), ids=LOST)
def test_file_that_is_none_is_kept_aside(data: DataDirectory, damage: Callable[[DataDirectory], object]) -> None:
    damage(data)
    found = read_named_filters(data)
    assert found.entries == () and found.is_lost
    assert not delete_named_filter(data, "goal", "a")
    put_named_filter(data, goal("a"))
    assert read_named_filters(data).entries == (goal("a"),)
    assert len(list(data.root.glob("goals.*.damaged"))) == 1


def test_file_that_is_full_of_the_unread_takes_no_more(data: DataDirectory) -> None:
    unread = json.dumps("x" * (FILE_MAX_BYTES - 80))
    data.goals.write_text(f"[{unread}]", "utf-8")
    before = data.goals.read_bytes()
    with pytest.raises(NoRoomForEntries):
        put_named_filter(data, goal("a", "path==/" + "a" * 500))
    assert data.goals.read_bytes() == before


def test_costliest_file_takes_no_longer_than_a_request(data: DataDirectory) -> None:
    data.goals.write_bytes(b"[" + b"0," * (FILE_MAX_BYTES // 2 - 2) + b"0]")
    started = time.process_time()
    found = read_named_filters(data)
    assert len(found.bad) > 500_000
    assert time.process_time() - started < 5


def test_change_waits_for_another_one_and_not_for_ever(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.kept_entries.LOCK_TIMEOUT_S", 0.05)
    with owner_lock(data.goals_lock), pytest.raises(EntriesBusy):
        put_named_filter(data, goal("a"))
    put_named_filter(data, goal("a"))
    assert (data.goals.stat().st_mode & 0o777, data.goals_lock.stat().st_mode & 0o777) == (0o640, 0o600)
