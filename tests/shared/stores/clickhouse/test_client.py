"""What a ClickHouse server may answer, and what is then said: where, why, and neither
the password nor a text of an event.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.stores.clickhouse.client import ClickHouse
from shared.stores.clickhouse.cluster import parse_cluster
from shared.stores.clickhouse.tables import make_tables
from shared.stores.ledger import StoreRefused, StoreUnavailable
from tests.builders import clickhouse
from tests.builders.certificates import make_certificates
from tests.builders.said_over_http import ok, saying

PASSWORD = "password-of-the-tests"  # noqa: S105
SECRET = "text-of-an-event"  # noqa: S105
LATE = (
    b"Code: 241. DB::Exception: Memory limit exceeded: while reading " + SECRET.encode() + b" (MEMORY_LIMIT_EXCEEDED)"
)


def client(port: int, options: str = "", host: str = "127.0.0.1") -> ClickHouse:
    cluster = parse_cluster(f"clickhouse://me:{PASSWORD}@{host}:{port}/default{options}")
    return ClickHouse(cluster, cluster.shards[0], 10)


# name: what is answered, what is said of rows, and of an insert (None: nothing)
ANSWERS = {
    "a page": (ok(b"<html>It works</html>"), "is this its HTTP port", None),
    "nothing": (b"", "Remote end closed connection", "Remote end closed connection"),
    "no HTTP": (b"\x00\x01 hello\r\n\r\n", "hello", "hello"),
    "half of the JSON": (ok(b'{"meta": [], "data": [["1"'), "or was cut off", None),
    "less than it says": (ok(b'{"data": []}', 100), "IncompleteRead", "IncompleteRead"),
    "other JSON": (ok(b'{"rows": 1}'), "is not what ClickHouse says", None),
    "a list": (ok(b"[]"), "is not what ClickHouse says", None),
    "no UTF-8": (ok(b'{"data": [["\xff"]]}'), "is not what ClickHouse says", None),
    "an error in the rows": (ok(b'{"data": [["1"],' + LATE), "code 241 .MEMORY_LIMIT_EXCEEDED", "code 241 .MEMORY"),
    "an error": (ok(LATE), "code 241 .MEMORY_LIMIT_EXCEEDED", "code 241 .MEMORY_LIMIT_EXCEEDED"),
    "a redirection": (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", "HTTP 302", "code 0"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_none_is_an_error(name: str) -> None:
    content, of_rows, of_insert = ANSWERS[name]
    with saying(content) as port:
        asked = client(port)
        asked.__dict__["_known_settings"] = frozenset()  # it would be asked first
        with pytest.raises(StoreUnavailable, match=of_rows) as found:
            asked.rows("SELECT 1")
        said = str(found.value)
        if of_insert:
            with pytest.raises(StoreUnavailable, match=of_insert) as found:
                asked.insert("INSERT INTO t FORMAT TabSeparated", [SECRET.encode()])
            said += str(found.value)
        assert f"the ClickHouse server 127.0.0.1:{port} could not be read or written" in said
        assert PASSWORD not in said and SECRET not in said


def test_a_text_in_a_row_is_no_error() -> None:
    with saying(ok(b'{"data": [["Code: 1. DB::Exception: in a path"]]}')) as port:
        asked = client(port)
        asked.__dict__["_known_settings"] = frozenset()
        assert asked.rows("SELECT 1") == [["Code: 1. DB::Exception: in a path"]]


def test_why_a_server_ends_an_insert_early_is_said() -> None:
    """It answers, and closes what it does not read."""
    refused = b"Code: 252. DB::Exception: Too many parts (TOO_MANY_PARTS)"
    for status, reason in (
        (b"500 Internal Server Error", "code 252 .TOO_MANY_PARTS"),
        (b"200 OK", "before all was sent"),
    ):
        content = refused if status.startswith(b"5") else b""
        answer = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(content), content)
        with saying(answer, is_hasty=True) as port:
            asked = client(port)
            asked.__dict__["_known_settings"] = frozenset()
            with pytest.raises(StoreUnavailable, match=reason):
                asked.insert("INSERT INTO t FORMAT TabSeparated", _slowly())


def test_a_server_that_stands_still_in_an_insert_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.stores.clickhouse.client.INSERT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as stands_still:
        cluster = parse_cluster(f"clickhouse://127.0.0.1:{stands_still.getsockname()[1]}/default")
        asked = ClickHouse(cluster, cluster.shards[0])
        asked.__dict__["_known_settings"] = frozenset()
        with pytest.raises(StoreUnavailable, match="timed out"):
            asked.insert("INSERT INTO t FORMAT TabSeparated", [b"x"])


def _slowly() -> Iterator[bytes]:
    for _ in range(50):
        yield b"x" * (1 << 16)
        time.sleep(0.01)


@pytest.mark.component
def test_a_certificate_is_checked(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    with saying(ok(b'{"data": [["1"]]}'), tmp_path) as port:
        right = f"?secure=1&ca={tmp_path / 'root.crt'}"
        for options, host, reason in (
            (right, "127.0.0.1", "IP address mismatch"),
            (f"?secure=1&ca={tmp_path / 'other.crt'}", "localhost", "CERTIFICATE_VERIFY_FAILED"),
            ("?secure=1", "localhost", "CERTIFICATE_VERIFY_FAILED"),
            ("", "localhost", "Connection|closed|reset|BadStatusLine"),
        ):
            with pytest.raises(StoreUnavailable, match=reason):
                client(port, options, host).rows("SELECT 1")
        for name in ("none.crt", "names"):
            with pytest.raises(StoreRefused, match=rf"certificates of ca=.*{name}, which cannot be read: \S+"):
                client(port, f"?secure=1&ca={tmp_path / name}", "localhost").rows("SELECT 1")
        assert client(port, right, "localhost").rows("SELECT 1") == [["1"]]


@pytest.fixture(scope="module")
def shards() -> Iterator[clickhouse.Shards]:
    with clickhouse.running(2) as found:
        yield found


@pytest.mark.component
def test_what_a_server_refuses_is_said_without_the_password(shards: clickhouse.Shards) -> None:
    address = shards.database()
    login = address.replace("://", f"://default:{PASSWORD}@")
    unknown = address.replace("://", f"://nobody:{PASSWORD}@")
    for wrong, reason in (
        (login, "refuses: .*(password|Password)"),
        (unknown, "refuses: .*nobody"),
        (address.replace("/test_", "/none_"), "refuses: .*none_1 doesn't exist"),
    ):
        cluster = parse_cluster(wrong)
        with pytest.raises(StoreRefused, match=reason) as found:
            make_tables(cluster, [ClickHouse(cluster, each) for each in cluster.shards])
        assert PASSWORD not in str(found.value)


@pytest.mark.component
def test_shards_that_the_servers_do_not_know_are_refused(shards: clickhouse.Shards) -> None:
    address = shards.database()
    http = f"127.0.0.1:{shards.servers[0].http}"
    for wrong, known in (
        (
            address.replace("cluster=analytics", "cluster=others"),
            "knows 0 shards of the cluster others, and .* names 2",
        ),
        (address.replace(http, f"{http},localhost:1"), "knows 2 shards of the cluster analytics, and .* names 3"),
    ):
        cluster = parse_cluster(wrong)
        with pytest.raises(StoreRefused, match=known):
            make_tables(cluster, [ClickHouse(cluster, each) for each in cluster.shards])
