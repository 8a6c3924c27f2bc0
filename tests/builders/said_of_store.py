"""What a real host says of its store: metrics, readiness, status and doctor."""

from __future__ import annotations

import re
from typing import Any

from tests.builders.server import Server, failing, run_foldlog


def metric(server: Server, name: str) -> float:
    (value,) = re.findall(rf"^foldlog_store_{name} (\S+)$", server.get("/metrics").body.decode("utf-8"), re.MULTILINE)
    return float(value)


def check(server: Server) -> str | None:
    """The detail of the check `publish`, if it is listed."""
    assert failing(server) == set()
    checks = {each["name"]: each["detail"] for each in server.request("GET", "/readyz").json()["checks"]}
    return checks.get("publish")


def status(server: Server) -> Any:
    return server.get("/admin/api/status").json()


def send_and_fold(server: Server, id_: str) -> int:
    assert server.post([{"name": "a", "id": id_}]).status == 200
    return server.fold()


def doctor(server: Server) -> str:
    return run_foldlog(["doctor"], server.environ).stdout
