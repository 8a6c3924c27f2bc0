"""`make audit`: what fails, what is printed, and what a list out of reach means."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.dependencies.audit import ACCEPTED, Flaw, Listed, Unreachable, accepted, judge, look_up, parse

SEVERITIES = {"GHSA-high": "HIGH", "GHSA-critical": "CRITICAL", "GHSA-moderate": "MODERATE", "GHSA-low": "LOW"}


class Advisories(BaseHTTPRequestHandler):
    """Says the severity of what it knows."""

    def do_GET(self) -> None:
        severity = SEVERITIES.get(self.path.rpartition("/")[2])
        self.send_response(200 if severity else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"database_specific": {"severity": severity}}).encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def advisories() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Advisories) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/"
        server.shutdown()
        thread.join()


FAILS = {
    "high": (("GHSA-high",), True),
    "critical, by another of its ids": (("PYSEC-1", "CVE-1", "GHSA-critical"), True),
    "of unknown severity": (("PYSEC-2", "CVE-2"), True),
    "moderate": (("PYSEC-3", "GHSA-moderate"), False),
    "low": (("GHSA-low",), False),
    "accepted": (("PYSEC-4", "CVE-4"), False),
}


@pytest.mark.parametrize(("ids", "expected"), FAILS.values(), ids=FAILS)
def test_high_and_critical_flaws_fail_and_lower_ones_are_printed(
    advisories: str, ids: tuple[str, ...], expected: bool
) -> None:
    listed = Listed([Flaw("some-package", "1.0", ids, ("1.1",))], 1, [])
    lines, fails = judge(listed, {"CVE-4": "not called here"}, look_up(advisories))
    assert fails is expected
    assert lines[0].startswith(f"audit: {'FAILS' if expected else 'noted'}: some-package 1.0: {ids[0]}, ")
    assert "mended in 1.1" in lines[0] and lines[-1] == "audit: 1 packages checked, 1 known flaws"


def test_severity_that_nobody_says_counts_as_high() -> None:
    flaw = Flaw("some-package", "1.0", ("GHSA-low",), ())
    _, fails = judge(Listed([flaw], 1, []), {}, look_up("http://127.0.0.1:1/"))
    assert fails


def test_output_of_pip_audit_is_understood() -> None:
    skipped = {"name": "b", "skip_reason": "Dependency not found"}
    vulns = [{"id": "PYSEC-1", "fix_versions": ["2.0"], "aliases": ["CVE-1"], "description": "…"}]
    text = json.dumps({"dependencies": [{"name": "a", "version": "1.0", "vulns": vulns}, skipped], "fixes": []})
    assert parse(text) == Listed([Flaw("a", "1.0", ("PYSEC-1", "CVE-1"), ("2.0",))], 1, ["b"])
    with pytest.raises(Unreachable):
        parse(json.dumps({"dependencies": [skipped]}))


def test_accepted_flaws_have_a_reason() -> None:
    assert accepted("# why\n\nPYSEC-1 only on Windows\n") == {"PYSEC-1": "only on Windows"}
    assert all(accepted(ACCEPTED.read_text("utf-8")).values())
