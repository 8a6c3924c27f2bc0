"""Goals and saved filters of all hosts of a PostgreSQL store: kept and deleted on any
of them, known to all, and lost by none, whatever is restored or edited meanwhile.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from ingest.sharing.documents import DOCUMENT_MAX_BYTES, SharedDocuments
from ingest.sharing.turns import Turns
from ingest.sharing.with_hosts import annotations_document, goals_document
from shared.annotations import Annotation, put_annotation, read_annotations
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.kept_entries import EntriesBusy, TooManyEntries
from shared.named_filters import (
    ENTRIES_MAX,
    NAMED_FILTERS,
    NamedFilter,
    delete_named_filter,
    put_named_filter,
    read_named_filters,
)
from shared.stores.ledger import StoreUnavailable
from tests.builders.postgres import Server as Postgres
from tests.builders.server import ADMIN_TOKEN, bearer
from tests.builders.silent_log import SilentLog
from tests.builders.stores import executed
from tests.builders.waiting import until
from tests.builders.worker import Worker

pytestmark = pytest.mark.component
GOALS = "/admin/api/goals"
ANNOTATIONS = "/admin/api/annotations"


class Host:
    """One host, whose turns the test takes."""

    def __init__(self, root: Path, address: str) -> None:
        self.data = DataDirectory(root)
        make_data_directory(self.data)
        self.join(address)

    def join(self, address: str) -> None:
        document = goals_document(self.data)
        self.log = SilentLog()
        self.shared = SharedDocuments(self.data, address, [document])
        self.turns = Turns(self.shared, self.log)
        self._changing = partial(self.shared.changing, document)

    def put(self, name: str, filter_: str = "path==/") -> bool:
        return put_named_filter(self.data, NamedFilter("goal", name, filter_), self._changing)

    def delete(self, name: str) -> bool:
        return delete_named_filter(self.data, "goal", name, self._changing)

    @property
    def goals(self) -> dict[str, str]:
        return {each.name: each.filter for each in read_named_filters(self.data).entries}

    def edit(self, goals: dict[str, str]) -> None:
        """As an editor does."""
        entries = [{"kind": "goal", "name": name, "filter": filter_} for name, filter_ in goals.items()]
        self.data.goals.write_text(json.dumps(entries), "utf-8")


Made = Callable[..., Host]


@pytest.fixture
def host(tmp_path: Path, address: str) -> Made:
    def make(name: str, store: str = address) -> Host:
        return Host(tmp_path / name, store)

    return make


def test_goal_of_one_host_is_one_of_all_until_any_deletes_it(host: Made) -> None:
    one, other = host("one"), host("other")
    assert not one.put("a", "path==/1")
    assert one.goals == {"a": "path==/1"}, "at once where it was put"
    other.shared.turn()
    assert other.goals == {"a": "path==/1"}
    assert other.put("a", "path==/2"), "it replaces that of the other host"
    assert other.delete("a")
    assert not one.delete("a"), "deleting looks at the newest"
    assert one.goals == other.goals == {}


def test_change_is_made_on_the_newest_version(host: Made) -> None:
    one, other = host("one"), host("other")
    one.put("a")
    other.put("b")
    one.put("c")
    other.shared.turn()
    assert one.goals == other.goals == {"a": "path==/", "b": "path==/", "c": "path==/"}


def test_hosts_that_change_at_the_same_instant_lose_nothing(host: Made) -> None:
    hosts = [host(f"host-{number}") for number in range(4)]

    def change(each: Host) -> None:
        for number in range(10):
            each.put(f"{each.data.root.name} {number}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(change, hosts))
    expected = {f"host-{number} {of}": "path==/" for number in range(4) for of in range(10)}
    for each in hosts:
        each.shared.turn()
        assert each.goals == expected


def test_limit_is_that_of_all_hosts(host: Made) -> None:
    one, other = host("one"), host("other")
    one.edit({f"{number}": "path==/" for number in range(ENTRIES_MAX)})
    one.shared.turn()
    with pytest.raises(TooManyEntries):
        other.put("one more")
    assert len(other.goals) == ENTRIES_MAX


def test_hosts_that_had_goals_before_the_store_have_those_of_all(host: Made) -> None:
    one, other = host("one"), host("other")
    one.edit({"a": "path==/one", "b": "path==/one"})
    other.edit({"a": "path==/other", "c": "path==/other"})
    for each in (one, other, one):
        each.shared.turn()
    assert one.goals == other.goals == {"a": "path==/one", "b": "path==/one", "c": "path==/other"}


def test_edited_file_is_published(host: Made) -> None:
    one, other = host("one"), host("other")
    one.put("a")
    other.shared.turn()
    one.edit({"b": "path==/b"})
    one.shared.turn()
    other.shared.turn()
    assert one.goals == other.goals == {"b": "path==/b"}, "what the editor took out is gone"


def test_edit_that_meets_another_change_loses_neither(host: Made) -> None:
    one, other = host("one"), host("other")
    one.put("a")
    other.put("b")
    one.edit({"a": "path==/edited", "c": "path==/c"})
    one.shared.turn()
    other.shared.turn()
    assert one.goals == other.goals == {"a": "path==/", "b": "path==/", "c": "path==/c"}


def test_deleted_file_comes_back(host: Made) -> None:
    one = host("one")
    one.put("a")
    one.data.goals.unlink()
    one.shared.turn()
    assert one.goals == {"a": "path==/"}
    assert list(one.data.root.glob("*.damaged")) == []


def damage_text(data: DataDirectory) -> None:
    data.goals.write_bytes(b"[{")


def damage_kind(data: DataDirectory) -> None:
    data.goals.unlink(missing_ok=True)
    data.goals.mkdir()


def damage_size(data: DataDirectory) -> None:
    data.goals.write_bytes(b"[" + b" " * DOCUMENT_MAX_BYTES + b"]")


@pytest.mark.parametrize("damage", [damage_text, damage_kind, damage_size])
def test_damaged_file_is_kept_aside_and_that_of_the_store_takes_its_place(
    host: Made, damage: Callable[[DataDirectory], None]
) -> None:
    one, other = host("one"), host("other")
    other.put("a")
    damage(one.data)
    one.shared.turn()
    assert one.goals == {"a": "path==/"}
    assert len(list(one.data.root.glob("goals.*.damaged"))) == 1
    other.shared.turn()
    assert other.goals == {"a": "path==/"}


def test_damaged_file_is_published_by_none(host: Made) -> None:
    one, other = host("one"), host("other")
    damage_text(one.data)
    one.shared.turn()
    other.shared.turn()
    assert (one.data.goals.read_bytes(), other.data.goals.exists()) == (b"[{", False)
    one.put("a")
    other.shared.turn()
    assert other.goals == {"a": "path==/"}


def test_what_was_changed_by_hand_in_the_store_is_taken_if_it_can_be_read(host: Made, address: str) -> None:
    one = host("one")
    one.put("a")
    executed(address, "UPDATE analytics_documents SET content = '[]'")
    one.shared.turn()
    assert one.goals == {}
    one.put("b")
    executed(address, "UPDATE analytics_documents SET content = 'no list', version = version + 1")
    one.shared.turn()
    assert one.goals == {"b": "path==/"}
    assert [*executed(address, "SELECT content FROM analytics_documents")] == [(one.data.goals.read_bytes(),)]


def test_directory_that_is_restored_takes_what_changed_since(host: Made) -> None:
    one, other = host("one"), host("other")
    one.put("a")
    backup = [(path, path.read_bytes()) for path in (one.data.goals, one.data.shared_note(one.data.goals))]
    other.delete("a")
    other.put("b")
    one.shared.turn()
    for path, content in backup:
        path.write_bytes(content)
    one.shared.turn()
    assert one.goals == {"b": "path==/"}, "what was deleted does not come back"


def test_restored_store_gets_the_newest_version_from_any_host(host: Made, address: str) -> None:
    one, other = host("one"), host("other")
    one.put("a")
    executed(address, "CREATE TABLE backup AS TABLE analytics_documents")
    other.delete("a")
    other.put("b")
    one.shared.turn()
    executed(address, "DELETE FROM analytics_documents; INSERT INTO analytics_documents TABLE backup")
    one.shared.turn()
    other.shared.turn()
    assert one.goals == other.goals == {"b": "path==/"}
    executed(address, "DELETE FROM analytics_documents")
    other.put("c")
    one.shared.turn()
    assert one.goals == other.goals == {"b": "path==/", "c": "path==/"}


def test_another_store_gets_them_too(host: Made, address: str, postgres: Postgres) -> None:
    one, second = host("one"), postgres.database()
    one.put("a")
    there = host("there", second)
    there.put("b")
    one.join(second)
    one.shared.turn()
    assert one.goals == {"a": "path==/", "b": "path==/"}


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_changes_turns_and_kills_keeps_what_was_acknowledged(host: Made, seed: int) -> None:
    """A host is killed after the commit, before its file or before its note: they are
    what they were.
    """
    pick = random.Random(seed)
    hosts = [host(f"host-{number}") for number in range(3)]
    expected = dict[str, str]()
    for step in range(60):
        each, name = pick.choice(hosts), f"goal {pick.randrange(8)}"
        files = [each.data.shared_note(each.data.goals), each.data.goals]
        before = {path: path.read_bytes() for path in files if path.exists()}
        if pick.random() < 0.5:
            expected[name] = f"path=={step}"
            each.put(name, expected[name])
        elif pick.random() < 0.6:
            assert each.delete(name) == (expected.pop(name, None) is not None)
        else:
            each.shared.turn()
        killed = pick.choice(["not", "not", "before both", "between"])
        if killed == "before both":
            put_back(files, before)
        elif killed == "between":
            half_done(each.data, before)
    for each in (*hosts, *hosts):
        each.shared.turn()
        assert each.goals == expected


def put_back(files: list[Path], before: dict[Path, bytes]) -> None:
    for path in files:
        if path in before:
            path.write_bytes(before[path])
        else:
            path.unlink(missing_ok=True)


def half_done(data: DataDirectory, before: dict[Path, bytes]) -> None:
    """The version is noted, and the file is still that before it."""
    note = data.shared_note(data.goals)
    if data.goals in before and note.exists():
        noted = json.loads(note.read_bytes()) | {"before": sha256(before[data.goals]).hexdigest()}
        note.write_text(json.dumps(noted), "utf-8")
        data.goals.write_bytes(before[data.goals])


def test_edit_that_puts_back_what_was_before_is_published(host: Made) -> None:
    one, other = host("one"), host("other")
    one.put("a")
    before = one.data.goals.read_bytes()
    one.put("b")
    one.data.goals.write_bytes(before)
    one.shared.turn()
    other.shared.turn()
    assert one.goals == other.goals == {"a": "path==/"}


def test_store_that_is_down_changes_nothing_and_leaves_the_copy(host: Made, postgres: Postgres) -> None:
    one = host("one")
    one.put("a")
    postgres.stop()
    try:
        one.turns.turn()
        one.turns.turn()
        with pytest.raises(StoreUnavailable):
            one.put("b")
        assert one.goals == {"a": "path==/"}
    finally:
        postgres.start()
    one.turns.turn()
    assert one.log.events() == ["store_documents_failed", "store_documents_shared"]


def test_file_that_another_process_changes_is_left_alone(host: Made) -> None:
    one = host("one")
    one.put("a")
    with goals_document(one.data).lock(), pytest.raises(EntriesBusy):
        one.shared.turn()


def test_idle_turn_writes_nothing(host: Made, address: str) -> None:
    one = host("one")
    one.put("a")
    one.shared.turn()
    files = (one.data.goals, one.data.shared_note(one.data.goals))
    before = [path.stat() for path in files]
    version = executed(address, "SELECT version, xmin::text FROM analytics_documents")
    one.shared.turn()
    assert [path.stat() for path in files] == before
    assert executed(address, "SELECT version, xmin::text FROM analytics_documents") == version


def test_merged_file_has_no_more_than_fits() -> None:
    entries = [{"kind": "goal", "name": f"{n}", "filter": "x" * 1_000, "note": "y" * 9_000} for n in range(90)]
    first, second = (json.dumps([each | {"of": of} for each in entries]).encode() for of in "ab")
    assert NAMED_FILTERS.merge(first, second) == first
    assert len(NAMED_FILTERS.parse(NAMED_FILTERS.merge(b"[1]", first)).bad) == 91


@pytest.fixture
def workers(tmp_path: Path, address: str) -> Iterator[list[Worker]]:
    for name in "ab":
        (tmp_path / name).mkdir()
    with Worker(tmp_path / "a", store=address) as one, Worker(tmp_path / "b", store=address) as other:
        yield [one, other]


def test_annotation_of_one_host_is_one_of_all_until_any_deletes_it(workers: list[Worker]) -> None:
    one, other = workers
    headers = {"Content-Type": "application/json"} | bearer(ADMIN_TOKEN)

    def put(worker: Worker, text: str) -> int:
        body = json.dumps({"at": "2026-11-22", "text": text}).encode()
        return worker.request("PUT", ANNOTATIONS, body, headers).status

    def texts(worker: Worker) -> dict[str, str]:
        return {each["text"]: each["id"] for each in worker.get(ANNOTATIONS).json()["annotations"]}

    assert put(one, "Deploy") == 201
    until(lambda: texts(other).keys() == {"Deploy"})
    assert (put(other, "Deploy"), put(other, "Newsletter")) == (200, 201)
    assert other.request("DELETE", f"{ANNOTATIONS}?id={texts(other)['Deploy']}", headers=headers).status == 204
    until(lambda: texts(one).keys() == {"Newsletter"})


def test_annotations_before_the_store_are_those_of_all_after_it(tmp_path: Path, address: str) -> None:
    hosts = [DataDirectory(tmp_path / name) for name in "ab"]
    for number, data in enumerate(hosts):
        make_data_directory(data)
        put_annotation(data, Annotation("2026-11-22", f"of {number}"))
    for data in (*hosts, hosts[0]):
        SharedDocuments(data, address, [annotations_document(data)]).turn()
    assert [{each.text for each in read_annotations(data).entries} for data in hosts] == [{"of 0", "of 1"}] * 2


def test_worker_knows_what_was_put_to_another_host(workers: list[Worker], postgres: Postgres) -> None:
    one, other = workers
    headers = {"Content-Type": "application/json"} | bearer(ADMIN_TOKEN)

    def put(worker: Worker, name: str) -> int:
        body = json.dumps({"name": name, "filter": "path==/"}).encode()
        return worker.request("PUT", GOALS, body, headers).status

    assert put(one, "a") == 201
    until(lambda: [each["name"] for each in other.get(GOALS).json()["goals"]] == ["a"])
    assert (put(other, "a"), put(other, "b")) == (200, 201)
    postgres.stop()
    try:
        answer = one.request("DELETE", f"{GOALS}?name=a", headers=headers)
        assert (answer.status, answer.code) == (503, "store_unavailable")
        assert "a" in [each["name"] for each in one.get(GOALS).json()["goals"]]
    finally:
        postgres.start()
    assert one.request("DELETE", f"{GOALS}?name=a", headers=headers).status == 204
