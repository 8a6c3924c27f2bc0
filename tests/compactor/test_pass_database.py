"""The passes of a process share a database, not its tables."""

from __future__ import annotations

import mmap
import multiprocessing
import shutil
from pathlib import Path

import duckdb
import pytest

from compactor import pass_database as module
from compactor.pass_database import LEFT_MAX_BYTES, pass_database
from tests.builders.waiting import TIMEOUT_S

MEMORY = 256 << 20
MARK = "SET memory_limit = '77MiB'"  # only the database that got it has it


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    module._kept.clear()


def is_marked(database: duckdb.DuckDBPyConnection) -> bool:
    return database.execute("SELECT current_setting('memory_limit')").fetchone() == ("77.0 MiB",)


def test_next_pass_has_the_same_database_without_the_tables(tmp_path: Path) -> None:
    for passes in range(3):
        with pass_database(MEMORY, tmp_path) as database:
            assert is_marked(database) is bool(passes)
            database.execute(MARK)
            assert database.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)
            database.execute("CREATE TEMP TABLE left_behind AS SELECT 1 AS number")


@pytest.mark.parametrize(("memory", "folder"), [(MEMORY * 2, "spill"), (MEMORY, "other")])
def test_other_limit_or_directory_has_a_database_of_its_own(tmp_path: Path, memory: int, folder: str) -> None:
    with pass_database(MEMORY, tmp_path / "spill") as database:
        database.execute(MARK)
    with pass_database(memory, tmp_path / folder) as database:
        assert not is_marked(database)
        assert database.execute("SELECT current_setting('temp_directory')").fetchone() == (str(tmp_path / folder),)


def test_database_of_a_pass_that_failed_is_not_used_again(tmp_path: Path) -> None:
    with pytest.raises(duckdb.ConversionException), pass_database(MEMORY, tmp_path) as database:
        database.execute(MARK)
        database.execute("SELECT 'text'::INTEGER")
    with pass_database(MEMORY, tmp_path) as database:
        assert not is_marked(database)


def test_memory_of_a_large_pass_is_given_back(tmp_path: Path) -> None:
    with pass_database(MEMORY, tmp_path) as database:
        database.execute(f"CREATE TEMP TABLE large AS SELECT range AS number FROM range({LEFT_MAX_BYTES // 2})")
        database.execute(MARK.replace("77", "777"))
    assert not module._kept


def test_pass_within_another_has_a_database_of_its_own(tmp_path: Path) -> None:
    with pass_database(MEMORY, tmp_path) as outer, pass_database(MEMORY, tmp_path) as inner:
        outer.execute("CREATE TEMP TABLE of_outer AS SELECT 1 AS number")
        inner.execute(MARK)
        assert not is_marked(outer)
    assert len(module._kept) == 1


def test_database_spills_again_after_its_directory_was_removed(tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    rows = "SELECT range AS number, repeat(range::VARCHAR, 40) AS text FROM range(200000)"
    with pass_database(MEMORY, spill) as kept:
        for _ in range(2):
            spill.mkdir()
            with kept.cursor() as database:
                database.execute("SET memory_limit = '24MiB'")
                database.execute(f"CREATE TEMP TABLE large AS {rows}")
                assert any(spill.iterdir())
                assert database.execute("SELECT count(DISTINCT number) FROM large").fetchone() == (200_000,)
            shutil.rmtree(spill)


def test_forked_process_has_a_database_of_its_own(tmp_path: Path) -> None:
    with pass_database(MEMORY, tmp_path) as database:
        database.execute(MARK)
    child = multiprocessing.get_context("fork").Process(target=_pass_in_child, args=(tmp_path,))
    child.start()
    child.join(TIMEOUT_S)
    assert child.exitcode == 0
    with pass_database(MEMORY, tmp_path) as database:
        assert is_marked(database)


def _pass_in_child(spill: Path) -> None:
    for _ in range(2):
        with pass_database(MEMORY, spill) as database:
            assert not is_marked(database)
    with pass_database(MEMORY * 2, spill):
        pass


def test_replaced_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    for number in range(2):
        duckdb.execute(f"COPY (SELECT {number} AS number) TO '{path}' (FORMAT parquet)")
        with pass_database(MEMORY, tmp_path) as database:
            assert database.execute("SELECT current_setting('enable_external_file_cache')").fetchone() == (False,)
            assert database.execute(f"FROM read_parquet('{path}')").fetchall() == [(number,)]


def test_memory_that_many_passes_leave_is_given_back(tmp_path: Path) -> None:
    left, is_kept = [], []
    for _ in range(6):
        with pass_database(MEMORY, tmp_path) as database:
            is_kept.append(is_marked(database))
            database.execute(MARK)
            # Pages of its own: what a process has freed before could be used again.
            left.append(mmap.mmap(-1, LEFT_MAX_BYTES * 2 // 3))
            left[-1].write(b"x" * len(left[-1]))
    assert False in is_kept[1:]  # after two passes too much was left
