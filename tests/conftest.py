"""What all tests share: how often a property is tried, which is less where the long
tests are left out; one PostgreSQL and one ClickHouse of each kind for each worker; a
collection that looks for no garbage.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import hypothesis
import pytest

from tests.builders import clickhouse_kinds
from tests.builders.clickhouse_kinds import ClickHouses
from tests.builders.postgres import Server, running
from tests.builders.postgres_kinds import required

EXAMPLES = 100
EXAMPLES_OF_THE_SHORT_TIER = 40


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--examples", type=int, help="how often a property is tried (default: 100, without the long tests 40)"
    )


def pytest_configure(config: pytest.Config) -> None:
    is_short = config.option.markexpr.startswith("not long")
    examples = config.option.examples or (EXAMPLES_OF_THE_SHORT_TIER if is_short else EXAMPLES)
    hypothesis.settings.register_profile("foldlog", max_examples=examples, deadline=None)
    hypothesis.settings.load_profile("foldlog")
    gc.disable()


def pytest_collection_finish() -> None:
    """Until now there was no garbage, and looking for it among all tests takes a
    second.
    """
    gc.enable()


@pytest.fixture(scope="session")
def postgres_of_worker() -> Iterator[Server]:
    with running(required("system"), quick=True) as found:
        yield found


@pytest.fixture(scope="module")
def postgres(postgres_of_worker: Server) -> Iterator[Server]:
    """The PostgreSQL of a worker. A test takes a database of its own, which goes with
    the module, and may stop the server: who takes the next database starts it.
    """
    yield postgres_of_worker
    postgres_of_worker.drop_databases()


@pytest.fixture(scope="session")
def clickhouse_shards() -> Iterator[ClickHouses]:
    """The old ClickHouse of a worker, in two shards, for tests that kill neither."""
    with clickhouse_kinds.running("shards") as found:
        yield found


@pytest.fixture(scope="session")
def clickhouse_today() -> Iterator[ClickHouses]:
    """Today's ClickHouse of a worker, for tests that do not kill it."""
    with clickhouse_kinds.running("today") as found:
        yield found
