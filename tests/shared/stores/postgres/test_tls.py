"""A store over TLS: the options are the driver's, in the address. Every process and
command uses them, and says what is wrong with a certificate, without the password.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from shared.exit_codes import SUCCESS, TRY_AGAIN
from tests.builders.logs import data_directory
from tests.builders.server import Server, environment, run_foldlog
from tests.builders.stores import queried
from tests.builders.tls_postgres import PASSWORD, TlsServer, tls_server
from tests.builders.waiting import until

pytestmark = pytest.mark.component
EVENT = {"name": "pageview", "visitor": "visitor-1"}


@pytest.fixture(scope="module")
def tls() -> Iterator[TlsServer]:
    with tls_server() as found:
        yield found


@pytest.mark.long
def test_every_process_and_command_uses_a_store_whose_certificate_is_right(tmp_path: Path, tls: TlsServer) -> None:
    address = tls.address(tls.root)
    with psycopg.connect(address) as connection:
        assert connection.pgconn.ssl_in_use
    with Server(tmp_path, store=address, durability="store", fold_interval=1) as server:
        assert server.post([EVENT]).status == 200
        until(lambda: server.get("/admin/api/report").json()["total"]["events"] == 1, server.log_tail)
        for command in (["store", "status"], ["store", "check"], ["store", "publish"], ["report"], ["token", "list"]):
            done = run_foldlog(command, server.environ)
            assert done.returncode == SUCCESS, (command, done.stderr)
        sessions = (
            "SELECT count(*), bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_port > 0"
        )
        ((count, are_tls),) = queried(address, sessions)
        assert count > 1 and are_tls


@pytest.mark.parametrize("wrong", ["root", "name"])
def test_certificate_that_is_wrong_is_refused_and_named(tmp_path: Path, tls: TlsServer, wrong: str) -> None:
    address = tls.address(tls.other_root) if wrong == "root" else tls.address(tls.root, "127.0.0.1")
    said = "certificate verify failed" if wrong == "root" else 'does not match host name "127.0.0.1"'
    with Server(tmp_path, store=address, fold_interval=1) as server:
        assert server.post([EVENT]).status == 200
        answer = server.get("/admin/api/report")
        assert (answer.status, answer.code) == (503, "store_unavailable")
        until(lambda: "store_publish_failed" in server.log_tail(), server.log_tail)
        status = server.get("/admin/api/status").body.decode()
        assert said.replace('"', '\\"') in status
        shown = server.log_tail() + status + answer.body.decode()
    for command in (["store", "status"], ["report"]):
        done = run_foldlog(command, environment(server.data.root, store=address))
        assert done.returncode == TRY_AGAIN and said in done.stderr, (command, done)
        shown += done.stdout + done.stderr
    assert PASSWORD not in shown


def test_root_that_cannot_be_read_is_named(tmp_path: Path, tls: TlsServer) -> None:
    data = data_directory(tmp_path / "data")
    done = run_foldlog(["store", "status"], environment(data.root, store=tls.address(tmp_path / "none.crt")))
    assert done.returncode == TRY_AGAIN and "none.crt" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
