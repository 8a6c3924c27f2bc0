"""SQL to one ClickHouse server over HTTP, of any version: what is asked and inserted is
answered when it is done, and an error names the server without its password.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from shared.stores.clickhouse.cluster import Cluster, Endpoint
from shared.stores.ledger import StoreRefused, StoreUnavailable

CONNECT_TIMEOUT_S = 10.0
STATEMENT_TIMEOUT_S = 600.0
# An insert of half a million rows takes some seconds: a server that stands still in the
# middle of one is not waited for as one that merges.
INSERT_TIMEOUT_S = 120.0
FIRST_ANSWER_S = 15.0
# Those that the server knows are sent. An answer says what became of the statement; a
# block that was deleted may be inserted again; a winner in another part is found. What
# is inserted has no copies, and is not searched for them. A report may list ten
# thousand numbers twice.
_SETTINGS = {
    "async_insert": "0",
    "do_not_merge_across_partitions_select_final": "0",
    "enable_optimize_predicate_expression_to_final_subquery": "0",
    "insert_deduplicate": "0",
    "insert_distributed_sync": "1",
    "max_query_size": "4194304",
    "mutations_sync": "0",
    "optimize_on_insert": "0",
    "output_format_json_quote_64bit_integers": "0",
    "skip_unavailable_shards": "0",
}
# Wrong password, unknown user, not allowed, unknown database.
_REFUSALS = frozenset({192, 193, 194, 195, 497, 516, 81})
UNKNOWN_TABLE = 60
_CODE = re.compile(r"Code: (\d+)")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]+)\)")
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"})

# What a statement binds: by name, its type in ClickHouse and its value.
Bound = Mapping[str, object]


class ServerError(StoreUnavailable):
    """The server said no; `code` is ClickHouse's."""

    def __init__(self, store: str, error: str, code: int) -> None:
        super().__init__(store, error)
        self.code = code


class ClickHouse:
    """One server. `timeout_s` is how long an answer may take."""

    def __init__(self, cluster: Cluster, endpoint: Endpoint, timeout_s: float = STATEMENT_TIMEOUT_S) -> None:
        self._cluster, self._endpoint, self._timeout_s = cluster, endpoint, timeout_s

    def __str__(self) -> str:
        return f"the ClickHouse server {self._endpoint}"

    def rows(self, sql: str, bound: Bound | None = None, settings: Mapping[str, str] | None = None) -> list[list[Any]]:
        """The rows of a query, with `{name:Type}` for what is bound. Raises
        StoreUnavailable and StoreRefused.
        """
        text = f"{sql}\nFORMAT JSONCompact"
        parameters = {f"param_{name}": _as_text(value) for name, value in (bound or {}).items()}
        answer = self._send(text.encode(), parameters | self._known(settings))
        return self._decoded(answer)

    def lines(self, sql: str) -> bytes:
        """Rows of numbers, as TabSeparated. Raises as `rows`."""
        content = self._send(f"{sql}\nFORMAT TabSeparated".encode(), self._known(None))
        self._check_for_error(content, is_private=True)
        if content and not content.endswith(b"\n"):
            raise StoreUnavailable(str(self), "the answer was cut off")
        return content

    def run(self, sql: str) -> None:
        """A statement without rows. Raises as `rows`."""
        self._check_for_error(self._send(sql.encode(), self._known(None)), is_private=False)

    def insert(self, sql: str, content: Iterable[bytes]) -> None:
        """`sql` ends with `FORMAT …`, of which `content` is. Raises as `rows`; what the
        server says of rows is left out: they are not for a log.
        """
        patience_s = min(self._timeout_s, INSERT_TIMEOUT_S)
        answer = self._send(content, {"query": sql} | self._known(None), patience_s, is_private=True)
        self._check_for_error(answer, is_private=True)

    def ping(self) -> None:
        """Raises StoreUnavailable and StoreRefused."""
        self._decoded(self._send(b"SELECT 1 FORMAT JSONCompact", {}))

    @cached_property
    def version(self) -> tuple[int, ...]:
        ((text,),) = self._decoded(self._send(b"SELECT version() FORMAT JSONCompact", {}))
        return tuple(int(part) for part in re.findall(r"\d+", text)[:3])

    @cached_property
    def _known_settings(self) -> frozenset[str]:
        """Asked first: a server that stands still is not waited for long."""
        patience_s = min(self._timeout_s, FIRST_ANSWER_S)
        answer = self._send(b"SELECT name FROM system.settings FORMAT JSONCompact", {}, patience_s)
        return frozenset(name for (name,) in self._decoded(answer))

    def _known(self, more: Mapping[str, str] | None) -> dict[str, str]:
        given = {**_SETTINGS, **(more or {})}
        return {name: value for name, value in given.items() if name in self._known_settings}

    def _decoded(self, answer: bytes) -> list[list[Any]]:
        """Texts of events are in rows: only an answer that is none may be an error."""
        try:
            return list(json.loads(answer)["data"])
        except (ValueError, KeyError, TypeError):
            self._check_for_error(answer, is_private=True)
            reason = "the answer is not what ClickHouse says over HTTP, or was cut off; is this its HTTP port?"
            raise StoreUnavailable(str(self), reason) from None

    def _check_for_error(self, answer: bytes, *, is_private: bool) -> None:
        """An error may come after the status 200."""
        if b"DB::Exception" in answer:
            said = answer.decode("utf-8", "replace")
            raise self._error(http.HTTPStatus.OK, said[max(said.rfind("Code: "), 0) :], is_private=is_private)

    def _send(
        self,
        body: Iterable[bytes] | bytes,
        parameters: Mapping[str, str],
        timeout_s: float | None = None,
        *,
        is_private: bool = False,
    ) -> bytes:
        # Nothing is answered before the end: an error could not be told from rows.
        query = urlencode({"database": self._cluster.database, "wait_end_of_query": "1", **parameters})
        with self._errors(), closing(self._connection(timeout_s or self._timeout_s)) as connection:
            is_sent = self._is_sent(connection, f"/?{query}", body)
            answer = connection.getresponse()
            content = answer.read()
        if answer.status == http.HTTPStatus.OK and is_sent:
            return content
        if answer.status == http.HTTPStatus.OK:
            raise StoreUnavailable(str(self), "it answered before all was sent")
        raise self._error(answer.status, content.decode("utf-8", "replace"), is_private=is_private)

    def _is_sent(self, connection: http.client.HTTPConnection, path: str, body: Iterable[bytes] | bytes) -> bool:
        """A server that refuses what it has not read answers, and closes."""
        try:
            connection.request("POST", path, body, self._headers)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _error(self, status: int, said: str, *, is_private: bool) -> StoreUnavailable | StoreRefused:
        code = int(found[1]) if (found := _CODE.search(said)) else 0
        first = (said.strip() or f"HTTP {status}").splitlines()[0][:300]
        if is_private:
            first = f"it failed with code {code}" + (f" ({name[1]})" if (name := _NAME.search(said)) else "")
        if code in _REFUSALS or status in {401, 403}:
            return StoreRefused(str(self), f"refuses: {first}")
        return ServerError(str(self), first, code)

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._endpoint
        if not self._cluster.is_secure:
            return _Connection(host, port, timeout=timeout_s)
        return _SecureConnection(host, port, timeout=timeout_s, context=self._certificates())

    def _certificates(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._cluster.ca)
        except OSError as error:
            reason = f"needs the certificates of ca={self._cluster.ca}, which cannot be read: {error.strerror or error}"
            raise StoreRefused(str(self), reason) from error

    @property
    def _headers(self) -> dict[str, str]:
        login = base64.b64encode(f"{self._cluster.user}:{self._cluster.password}".encode()).decode()
        return {"Authorization": f"Basic {login}", "User-Agent": "foldlog"}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
            raise StoreUnavailable(str(self), said) from error


class _Connection(http.client.HTTPConnection):
    """Who connects waits less long than who waits for an answer."""

    def connect(self) -> None:
        patience, self.timeout = self.timeout, CONNECT_TIMEOUT_S
        super().connect()
        self.timeout = patience
        self.sock.settimeout(patience)


class _SecureConnection(http.client.HTTPSConnection):
    """The same over TLS."""

    def connect(self) -> None:
        patience, self.timeout = self.timeout, CONNECT_TIMEOUT_S
        super().connect()
        self.timeout = patience
        self.sock.settimeout(patience)


def _as_text(value: object) -> str:
    """A value as ClickHouse reads a parameter: escaped as in TabSeparated."""
    return "\\N" if value is None else str(value).translate(_ESCAPED)
