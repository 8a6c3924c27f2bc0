"""From a request line to a handler, or to a problem: in the loop of the test, with
aiohttp's own client and server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient, AiohttpRawServer
from yarl import URL

from ingest.collect.country import CountryLookup
from ingest.context import WorkerContext
from ingest.http.router import dispatch
from ingest.observe.doctor import DoctorCommand
from ingest.routes import ROUTES
from ingest.wal.commit_queue import CommitQueue
from shared.setting_parsers import url_path
from shared.settings import Settings
from shared.worker_stats import WorkerStats
from tests.builders.logs import data_directory
from tests.builders.server import environment
from tests.builders.silent_log import SilentLog

Client = TestClient[Any, Any]


@pytest.fixture
async def client(
    tmp_path: Path, aiohttp_raw_server: AiohttpRawServer, aiohttp_client: AiohttpClient
) -> AsyncIterator[Client]:
    data, log, stats = data_directory(tmp_path / "data"), SilentLog(), WorkerStats()
    settings = Settings(data_dir=data.root)
    queue = CommitQueue(data, "0", settings, log, stats=stats)
    context = WorkerContext(
        settings=settings,
        data=data,
        log=log,
        commit_queue=queue,
        stats=stats,
        country=CountryLookup(settings, log),
        doctor_command=DoctorCommand((), environment(data.root)),
    )
    yield await aiohttp_client(await aiohttp_raw_server(dispatch(context, ROUTES)))
    await queue.close()
    assert "request_failed" not in log.events()


@pytest.mark.parametrize("path", sorted({path for _, path, _ in ROUTES}))
def test_settings_can_take_the_path_of_no_route(path: str) -> None:
    with pytest.raises(ValueError, match="none of Foldlog's own"):
        url_path(path)


# What was asked, and the status, the code and the Allow header of the response.
REJECTED = {
    "nowhere": ("GET", "/nowhere", 404, "not_found", None),
    "slash at the end": ("POST", "/v1/events/", 404, "not_found", None),
    "upper case": ("POST", "/V1/events", 404, "not_found", None),
    "escaped slash": ("GET", "/admin/..%2f..%2fetc%2fpasswd", 404, "not_found", None),
    "wrong method": ("GET", "/v1/events", 405, "method", "OPTIONS, POST"),
    "no such method": ("TRACE", "/healthz", 405, "method", "GET"),
    "id without a method": ("PUT", "/admin/api/visitors/someone", 405, "method", "DELETE, GET"),
}


@pytest.mark.parametrize(("method", "path", "status", "code", "allow"), REJECTED.values(), ids=REJECTED)
async def test_request_without_a_handler_is_a_problem(
    client: Client, method: str, path: str, status: int, code: str, allow: str | None
) -> None:
    async with client.request(method, URL(path, encoded=True)) as response:
        problem = await response.json(content_type="application/problem+json")
        assert (response.status, problem["code"], response.headers.get("Allow")) == (status, code, allow)
        assert problem["status"] == status and response.headers["X-Request-Id"]


async def test_query_is_no_part_of_the_route(client: Client) -> None:
    async with client.get(URL("/healthz?x=/nowhere", encoded=True)) as response:
        assert response.status == 200
