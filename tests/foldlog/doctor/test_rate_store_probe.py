"""The doctor asks the store of the rate limit, and says why it does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from foldlog.doctor.examine import examine
from foldlog.doctor.finding import Finding
from shared.settings import Settings, load
from tests.builders.logs import data_directory
from tests.builders.rate_store_servers import KINDS
from tests.builders.server import environment


def finding(directory: Path, environ: dict[str, str], rate_limit: int = 600) -> list[Finding]:
    data = data_directory(directory / "data")
    settings = load(environment(data.root, rate_limit=rate_limit, listen="127.0.0.1:1") | environ)
    return [each for each in examine(data, settings) if each.check == "rate store"]


def test_host_that_counts_alone_is_not_asked(tmp_path: Path) -> None:
    assert Settings().rate_store == "local"
    assert finding(tmp_path, {}) == []
    assert finding(tmp_path, {"FOLDLOG_RATE_STORE": f"unix://{tmp_path}/none.sock"}, rate_limit=0) == []


def test_store_that_is_not_there_is_reported_without_its_secrets(tmp_path: Path) -> None:
    (found,) = finding(tmp_path, {"FOLDLOG_RATE_STORE": "redis://me:hidden@127.0.0.1:1/0"})
    assert found.level == "warning" and found.do
    assert found.found.startswith("redis://127.0.0.1:1/0 does not answer (ConnectionError: ")
    assert "hidden" not in repr(found)


def test_database_that_is_not_there_is_reported_without_its_secrets(tmp_path: Path) -> None:
    url = f"postgres://me:hidden@/db?host={tmp_path}"
    (found,) = finding(tmp_path, {"FOLDLOG_RATE_STORE": "postgres", "DATABASE_URL": url})
    assert found.level == "warning" and found.do
    assert "does not answer (OperationalError: " in found.found
    assert "hidden" not in repr(found)


@pytest.mark.component
@pytest.mark.long
@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_store_that_answers_is_ok(tmp_path: Path, kind: str) -> None:
    with KINDS[kind]() as store:
        (found,) = finding(tmp_path, store.environ)
        # A busy machine may be slow; it answers all the same.
        assert "answers after" in found.found
        store.stand_still()
        try:
            (found,) = finding(tmp_path / "still", store.environ)
        finally:
            store.go_on()
        assert (found.level, "no answer within" in found.found) == ("warning", True) or "timeout" in found.found.lower()
