"""The document at /openapi.json: it is valid, agrees with the code, and a real server
follows it.

schemathesis runs as a program and loads this module for its hooks, which are at the
end: how to encode a body, and which rejections no schema can express.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import jsonschema_rs
import pytest
import schemathesis
import zstandard
from hypothesis import strategies as st
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from ingest.collect.body import JSON, NDJSON, TEXT
from ingest.http.openapi_document import make_document
from ingest.http.openapi_kinds import REPORTS
from ingest.http.openapi_parameters import TIME_ZONE
from ingest.http.openapi_parts import PROBLEMS
from ingest.http.problem import PROBLEM_TYPE
from ingest.routes import ROUTES
from shared.control_chars import CONTROL_CHARS
from tests.builders.events import ACCEPTED, REJECTED, event
from tests.builders.pages import page, problem_codes, rows, section
from tests.builders.server import ADMIN_TOKEN, INGEST_KEY, Answer, Server, bearer, keyed

ROOT = Path(__file__).parents[3]
SITE = "example.com"
EXAMPLES, EXAMPLES_OF_THE_WHOLE = 10, 40
SCHEMATHESIS_TIMEOUT_S = 480

DOCUMENT = make_document()
# Files of the dashboard and the tracker, not part of the API.
FILES = re.compile(r"GET (/admin(/(?!api/).*)?|/.*\.js|/(share|embed)/\{id\})")
# Details of parameters that fit their schemas: of a setting, of a sum, of two of them
# together, of what stands within a filter.
BEYOND_PARAMETERS = re.compile(
    "from: must be before to|interval: more than|period: more than|scope: all needs|goal: there is none"
    "|filter: entry and exit are|visitors: measures asks|measures: values and engaged time|steps: each needs"
    r"|compare: there is nothing before|a site is one of|expires: an instant|sites: a token to write|there are \d+"
    r"|(filter|return|steps): (value is compared|at most \d+)|`at` must be a date"
)
# Codes that a schema cannot express: they need a clock, a list, or the source text.
BEYOND_SCHEMAS = {
    "too_old",
    "visitor_junk",
    "key_repeated",
    "key_needed",
    "site_invalid",
    "site_unknown",
    "client_invalid",
}


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema | {"components": DOCUMENT["components"]}, validate_formats=True)


EVENT = validator({"$ref": "#/components/schemas/Event"})


def operations() -> dict[str, dict[str, Any]]:
    """`GET /healthz` and its like, as the document describes them."""
    return {
        f"{method.upper()} {path}": found
        for path, methods in DOCUMENT["paths"].items()
        for method, found in methods.items()
    }


def test_document_is_openapi() -> None:
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_component_is_a_schema_with_valid_references(name: str) -> None:
    jsonschema_rs.meta.validate(DOCUMENT["components"]["schemas"][name])
    validator({"$ref": f"#/components/schemas/{name}"})


def test_operations_are_the_routes() -> None:
    assert set(operations()) == {
        route for method, path, _ in ROUTES if not FILES.fullmatch(route := f"{method} {path}")
    }


def test_problems_are_complete_with_their_status() -> None:
    documented = {code: status for status, codes in PROBLEMS.items() for code in codes}
    assert set(documented) | {"not_found", "method"} == problem_codes()
    table = {cells[1].strip("`"): cells[0] for cells in rows(section(page("docs/api.md"), "Problems"))}
    assert {code: table.get(code) for code in documented} == {code: str(status) for code, status in documented.items()}


def test_every_problem_belongs_to_an_operation() -> None:
    shown = json.dumps([operation["responses"] for operation in operations().values()])
    assert [code for codes in PROBLEMS.values() for code in codes if f'"{code}"' not in shown] == []


@pytest.mark.parametrize(("raw", "code", "field"), REJECTED.values(), ids=REJECTED)
def test_schema_rejects_what_validation_rejects(raw: str, code: str, field: str | None) -> None:
    found = json.loads(re.sub(r"\d{5000}", "9" * 50, raw))
    assert code in BEYOND_SCHEMAS or not EVENT.is_valid(found), field


# The schema does not promise floats beyond 2^53 (see ingest/collect/event.py), though
# they are taken.
PROMISED = {name: fields for name, fields in ACCEPTED.items() if name != "value huge"}


@pytest.mark.parametrize("fields", PROMISED.values(), ids=PROMISED)
def test_schema_accepts_what_validation_accepts(fields: dict[str, Any]) -> None:
    EVENT.validate(json.loads(event(**fields)))


def test_schema_and_validation_agree_on_every_character_of_a_name() -> None:
    for character in [*map(chr, range(0x2100)), "\ufeff", "\U000e0001", "😀"]:
        assert EVENT.is_valid({"name": f"a{character}b"}) == (CONTROL_CHARS.search(character) is None), hex(
            ord(character)
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("openapi"), consent="implied", sites=SITE) as running:
        running.post(
            [{"name": "pageview", "url": "https://example.com/a", "props": {"plan": "pro"}}, {"name": "signup"}]
        )
        running.fold()
        yield running


class Request(NamedTuple):
    """A request, and the expected status."""

    method: str
    target: str
    status: int
    headers: Mapping[str, str] | None = None
    body: bytes | None = None


BATCH = '[{"by":"path","compare":"previous"},{"by":"nonsense"}]'
ADMIN = bearer(ADMIN_TOKEN)
REQUESTS = {
    "stored": Request("POST", "/v1/events", 200, keyed(), b'{"events":[{"name":"a"}]}'),
    "one rejected": Request("POST", "/v1/events", 200, keyed(), b'{"events":[{"name":"a"},{"titel":"a"},[]]}'),
    "all rejected": Request("POST", "/v1/events", 422, keyed(), b'{"events":[{"name":""}]}'),
    "no batch": Request("POST", "/v1/events", 422, keyed(), b"{}"),
    "no events": Request("POST", "/v1/events", 422, keyed(), b'{"events":[]}'),
    "no JSON": Request("POST", "/v1/events", 400, keyed(), b"{"),
    "invalid key": Request("POST", "/v1/events", 401, keyed() | bearer("wrong"), b"{}"),
    "wrong": Request("POST", "/v1/events", 403, {"Content-Type": JSON}, b"{}"),
    "not tracked": Request("POST", "/v1/events", 403, keyed() | {"Sec-GPC": "1"}, b"{}"),
    "too large": Request("POST", "/v1/events", 413, keyed(), b" " * 2_000_000),
    "form": Request("POST", "/v1/events", 415, keyed() | {"Content-Type": "multipart/form-data"}, b"{}"),
    "expectation": Request("POST", "/v1/events", 417, keyed() | {"Expect": "200-ok"}, b"{}"),
    "preflight": Request("OPTIONS", "/v1/events", 204, {"Origin": f"https://{SITE}"}),
    "preflight of an unknown origin": Request("OPTIONS", "/v1/events", 403, {"Origin": "https://strange.example"}),
    "pixel without a key": Request("GET", "/v1/pixel.gif", 400),
    "pixel without a known key": Request("GET", "/v1/pixel.gif?k=x", 403),
    "pixel of a browser that says no": Request("GET", "/v1/pixel.gif?k=x", 403, {"DNT": "1"}),
    "report": Request("GET", "/admin/api/report", 200, ADMIN),
    "report of each day and page": Request(
        "GET", "/admin/api/report?by=path&interval=day&tz=Asia/Kathmandu", 200, ADMIN
    ),
    "report in CSV": Request("GET", "/admin/api/report?format=csv", 200, ADMIN),
    "report in NDJSON": Request("GET", "/admin/api/report?format=ndjson", 200, ADMIN),
    "report of nonsense": Request("GET", "/admin/api/report?by=nonsense", 400, ADMIN),
    "report without a token": Request("GET", "/admin/api/report", 401),
    "report with an ingest key": Request("GET", "/admin/api/report", 403, bearer(INGEST_KEY)),
    "funnel": Request("GET", "/admin/api/funnel?steps=path==/a;;event==b&by=path", 200, ADMIN),
    "funnel in CSV": Request("GET", "/admin/api/funnel?steps=path==/a;;event==b&format=csv", 200, ADMIN),
    "paths": Request("GET", "/admin/api/paths?at=/pricing", 200, ADMIN),
    "batch": Request("GET", f"/admin/api/batch?reports={quote(BATCH)}", 200, ADMIN),
    "batch of nothing": Request("GET", "/admin/api/batch?reports=[]", 400, ADMIN),
    "annotations": Request("GET", "/admin/api/annotations", 200, ADMIN),
    "export": Request("GET", "/admin/api/export", 200, ADMIN),
    "export to CSV": Request("GET", "/admin/api/export?format=csv", 200, ADMIN),
    "export to Parquet": Request("GET", "/admin/api/export?format=parquet", 200, ADMIN),
    "snapshot": Request("GET", "/admin/api/snapshot", 200, ADMIN),
    "summary": Request("GET", "/admin/api/snapshot?view=summary", 200, ADMIN),
    "snapshot of nonsense": Request("GET", "/admin/api/snapshot?view=nonsense", 400, ADMIN),
    "status": Request("GET", "/admin/api/status", 200, ADMIN),
    "fold": Request("POST", "/admin/api/fold", 200, ADMIN, b""),
    "health": Request("GET", "/healthz", 200),
    "readiness": Request("GET", "/readyz", 200),
    "metrics": Request("GET", "/metrics", 200),
    "document": Request("GET", "/openapi.json", 200),
}


def undocumented(request: Request, answer: Answer) -> str:
    """What the document lacks about a response, or an empty string."""
    response = operations()[f"{request.method} {request.target.partition('?')[0]}"]["responses"].get(str(answer.status))
    if response is None:
        return "status"
    if [
        name
        for name, header in response.get("headers", {}).items()
        if header["required"] and name not in answer.headers
    ]:
        return "headers"
    content = {kind.partition(";")[0]: each.get("schema", {}) for kind, each in response.get("content", {}).items()}
    kind = answer.headers.get_content_type()
    if not content:
        return "body" if answer.body else ""
    if kind not in content:
        return "media type"
    if kind in {JSON, PROBLEM_TYPE}:
        return "; ".join(error.message for error in validator(content[kind]).iter_errors(answer.json()))
    return ""


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_response_is_the_documented_one(server: Server, request_: Request) -> None:
    answer = server.request(request_.method, request_.target, request_.body, request_.headers)
    assert answer.status == request_.status, answer.body
    assert undocumented(request_, answer) == ""


@pytest.mark.parametrize("path", ["/admin/api/snapshot", "/openapi.json"])
def test_etag_gives_304(server: Server, path: str) -> None:
    first = server.get(path)
    again = server.get(path, {"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert undocumented(Request("GET", path, 304), again) == ""


def test_undocumented_response_is_detected(server: Server) -> None:
    request = REQUESTS["health"]
    good = server.request("GET", "/healthz")
    assert undocumented(request, Answer(418, good.headers, good.body)) == "status"
    assert undocumented(request, Answer(200, server.request("GET", "/metrics").headers, good.body)) == "media type"
    assert undocumented(request, Answer(200, good.headers, b'{"status":"ok","since":1}'))
    assert undocumented(REQUESTS["report without a token"], Answer(401, good.headers, b"")) == "headers"


def test_served_document_is_the_generated_one(server: Server) -> None:
    answer = server.request("GET", "/openapi.json")
    assert answer.json() == json.loads(json.dumps(DOCUMENT))


@pytest.mark.long
def test_429_has_the_documented_headers(tmp_path: Path) -> None:
    request = REQUESTS["stored"]
    with Server(tmp_path, consent="implied", rate_limit=1) as busy:
        headers = {"Content-Type": JSON, "Origin": f"http://{busy.host}"}
        first, second = (busy.request("POST", "/v1/events", request.body, headers) for _ in range(2))
    assert (first.status, second.status) == (200, 429)
    assert undocumented(request, second) == ""


@pytest.mark.timeout(SCHEMATHESIS_TIMEOUT_S + 30)
@pytest.mark.long
@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(EXAMPLES_OF_THE_WHOLE, marks=pytest.mark.whole)])
def test_schemathesis_finds_nothing(server: Server, tmp_path: Path, examples: int) -> None:
    """All of its checks, with valid and invalid requests generated from the
    document.
    """
    document = tmp_path / "openapi.json"  # from a URL, schemathesis skips the operation that serves it
    document.write_bytes(server.request("GET", "/openapi.json").body)
    options = [
        f"--url=http://{server.host}",
        f"--header=Authorization: Bearer {ADMIN_TOKEN}",
        "--exclude-path=/admin/api/live/stream",  # it ends after ten minutes; test_live_stream.py has it
        "--phases=examples,coverage,fuzzing,stateful",
        "--mode=all",
        f"--max-examples={examples}",
        "--seed=1",
        "--generation-database=none",
        "--no-color",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", document, *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": __name__, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=SCHEMATHESIS_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Tested: {len(operations()) - 1}\n" in done.stdout  # all but the excluded one


def small_event(name: str, value: float | None) -> dict[str, Any]:
    return {"name": name} if value is None else {"name": name, "value": value}


# For these media types, the schema does not tell schemathesis how to make a valid body.
EVENTS = st.lists(
    st.builds(small_event, st.text("ab -äß😀", min_size=1, max_size=20), st.none() | st.floats(-1e15, 1e15)), min_size=1
)
schemathesis.openapi.media_type(TEXT, EVENTS.map(lambda events: json.dumps({"events": events}).encode()))
schemathesis.openapi.media_type(
    NDJSON, EVENTS.map(lambda events: b"\n".join(json.dumps(each).encode() for each in events))
)
schemathesis.openapi.format(REPORTS, st.sampled_from([BATCH, "[{}]", '[{"interval":"day","limit":"3"}]']))
schemathesis.openapi.format(TIME_ZONE, st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia"]))


@schemathesis.serializer(JSON, TEXT, NDJSON)
def as_sent(context: schemathesis.SerializationContext, body: Any) -> bytes:
    """The bytes of a body, compressed as its header announces."""
    plain = body if isinstance(body, bytes) else json.dumps(with_whole_numbers(body)).encode()
    encoding = context.case.headers.get("Content-Encoding")
    if encoding == "gzip":
        return gzip.compress(plain)
    return zstandard.compress(plain) if encoding == "zstd" else plain


def with_whole_numbers(value: Any) -> Any:
    """1.0 as 1, as JavaScript writes it: equal to JSON Schema, but a wrong type for
    `time`.
    """
    if isinstance(value, dict):
        return {key: with_whole_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [with_whole_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Failure, case: schemathesis.Case[Any], response: schemathesis.Response
) -> bool:
    """Whether a failure counts. Two do not: an invalid event listed in a 200, and a
    rule that no schema can express, such as one about a setting.
    """
    if not isinstance(failure, (AcceptedNegativeData, RejectedPositiveData)):
        return True
    if response.headers.get("content-type") == ["image/gif"]:
        return False  # no schema knows which keys there are, and an image says nothing
    said = response.json()
    rejected = {each["code"] for each in said.get("rejected", [])}
    if isinstance(failure, AcceptedNegativeData):
        # The valid events of a batch are stored, the others listed; so is what only
        # decorates an event and was left out.
        return not (rejected or said.get("adjusted"))
    if rejected:
        return not rejected <= BEYOND_SCHEMAS
    return not BEYOND_PARAMETERS.match(said["detail"])
