"""The upstream of docs/several-hosts.md in front of two hosts, of which one is gone."""

from __future__ import annotations

import http.client
import json
import re
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders.nginx import SITE, Nginx
from tests.builders.pages import fenced, page
from tests.builders.proxy import HOST
from tests.builders.server import Server, keyed
from tests.builders.waiting import TIMEOUT_S

pytestmark = [pytest.mark.component, pytest.mark.long]

(UPSTREAM,) = fenced(page("docs/several-hosts.md"), "nginx")
GONE, ALIVE = "127.0.0.1:1", "127.0.0.1:8080"
CLIENTS = [f"127.0.0.{number}" for number in range(11, 19)]


def test_clients_of_a_host_that_is_gone_reach_the_other_one(tmp_path: Path) -> None:
    upstream = UPSTREAM.replace("10.0.0.11:8080", GONE).replace("10.0.0.12:8080", ALIVE)
    site, found = re.subn(r"upstream foldlog \{.*?^\}\n", upstream, SITE, flags=re.DOTALL | re.MULTILINE)
    assert found == 1 and GONE in site and ALIVE in site
    site = site.replace("error.log crit", "error.log error")  # which host it tried
    with Server(tmp_path) as server, Nginx(tmp_path / "nginx", server.host, site) as nginx:
        assert {client: status_of_post(client, nginx.port) for client in CLIENTS} == dict.fromkeys(CLIENTS, 200)
        assert GONE in nginx.error_log.read_text("utf-8")


def status_of_post(client: str, port: int) -> int:
    """From an address of its own: nginx chooses the host by it."""
    body = json.dumps({"consent": "granted", "events": [{"name": "pageview"}]})
    with closing(http.client.HTTPConnection("127.0.0.1", port, TIMEOUT_S, source_address=(client, 0))) as connection:
        connection.request("POST", "/v1/events", body, keyed() | {"Host": HOST})
        return connection.getresponse().status
