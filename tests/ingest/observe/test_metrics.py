"""GET /metrics: exact sums over all workers, whichever answers, in Prometheus' format,
under the documented names.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from shared.settings import Settings
from tests.builders.pages import page, rows, section
from tests.builders.server import Server, keyed
from tests.builders.waiting import until

PAGE = "docs/metrics.md"
RULES = "docs/prometheus-rules.yml"
EVENTS = "/v1/events"
GOOD: dict[str, object] = {"name": "pageview", "visitor": "visitor-1"}
# Enough scrapes that each worker has answered one.
TURNS = 12

Families = dict[str, Metric]


def scrape(server: Server) -> Families:
    answer = server.request("GET", "/metrics")
    assert answer.status == 200
    return parsed(answer.body)


def parsed(text: bytes) -> Families:
    """Families by their name in the text: that of a counter ends with _total."""
    found = list(text_string_to_metric_families(text.decode("utf-8")))
    return {f"{family.name}_total" if family.type == "counter" else family.name: family for family in found}


def value(families: Families, name: str, /, **labels: str) -> float:
    """The sum of the samples that have these labels."""
    samples = [sample for family in families.values() for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def by(families: Families, name: str, label: str, /, **labels: str) -> dict[str, float]:
    """The sums for each value of a label."""
    values = sorted(
        {sample.labels[label] for sample in families[name].samples if labels.items() <= sample.labels.items()}
    )
    return {each: value(families, name, **labels, **{label: each}) for each in values}


def workers_up(server: Server) -> dict[str, float]:
    return by(scrape(server), "foldlog_worker_up", "worker")


class Traffic:
    """What was sent, and the numbers it must lead to."""

    def __init__(self) -> None:
        self.accepted = 0
        self.body_bytes = 0
        self.rejected = {"name_missing": 0, "unknown_field": 0}
        self.answers: dict[tuple[str, str], float] = {}

    def send(self, server: Server, events: list[dict[str, object]], query: str = "", **headers: str) -> int:
        body = json.dumps({"events": events, "consent": "granted"}).encode()
        answer = server.request("POST", EVENTS + query, body, keyed() | headers)
        self._answered(answer.status, answer.code or "ok")
        if answer.code is None:
            self.body_bytes += len(body)
            for rejection in answer.json()["rejected"]:
                self.rejected[rejection["code"]] += 1
            if not query:
                self.accepted += answer.json()["accepted"]
        return answer.status

    def _answered(self, status: int, code: str) -> None:
        key = (str(status), code)
        self.answers[key] = self.answers.get(key, 0) + 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("metrics"), workers=2) as running:
        until(lambda: workers_up(running) == {"0": 1, "1": 1})
        yield running


@pytest.fixture(scope="module")
def traffic(server: Server) -> Traffic:
    """25 events that are stored, one of them three times, and some rejected ones."""
    sent = Traffic()
    for number in range(20):
        assert sent.send(server, [{**GOOD, "id": f"event-{number:04d}"}]) == 200
    for number in range(5):
        assert (
            sent.send(server, [{**GOOD, "id": f"mixed-{number:04d}"}, {"visitor": "visitor-1"}, {**GOOD, "titel": 1}])
            == 200
        )
    for _ in range(2):
        assert sent.send(server, [{**GOOD, "id": "event-0001"}]) == 200
    assert sent.send(server, [{**GOOD, "titel": 1}]) == 422
    assert sent.send(server, [GOOD, {**GOOD, "titel": 1}], "?dry_run=1") == 200
    for _ in range(3):
        assert sent.send(server, [GOOD], **{"Content-Type": "text/html"}) == 415
    for _ in range(4):
        assert sent.send(server, [GOOD], Authorization="Bearer wrong") == 401
    assert sent.send(server, []) == 422
    return sent


@pytest.fixture(scope="module")
def families(server: Server, traffic: Traffic) -> Families:
    """One scrape after the traffic and a fold, with a sample of every metric."""
    assert traffic.accepted == 27
    server.fold()
    server.exchange(b"nonsense\r\n\r\n")
    return scrape(server)


def test_sums_over_workers_are_exact_whichever_worker_is_asked(server: Server, traffic: Traffic) -> None:
    assert traffic.rejected == {"name_missing": 5, "unknown_field": 7}
    for _ in range(TURNS):
        found = scrape(server)
        assert value(found, "foldlog_events_accepted_total") == traffic.accepted
        assert by(found, "foldlog_events_rejected_total", "code") == traffic.rejected
        assert value(found, "foldlog_body_bytes_total") == traffic.body_bytes
        for (status, code), count in traffic.answers.items():
            assert value(found, "foldlog_requests_total", route=EVENTS, status=status, code=code) == count
        assert value(found, "foldlog_requests_total", route=EVENTS) == sum(traffic.answers.values())
        assert value(found, "foldlog_commit_failures_total") == 0
        assert value(found, "foldlog_group_events_sum") == traffic.accepted
        assert value(found, "foldlog_commit_seconds_count") == value(found, "foldlog_fsync_seconds_count") > 0
        assert value(found, "foldlog_queue_requests") == value(found, "foldlog_queue_bytes") == 0
    asked = by(scrape(server), "foldlog_requests_total", "worker", route="/metrics")
    assert set(asked) == {"0", "1"}


def test_log_bytes_are_those_on_disk(server: Server, traffic: Traffic) -> None:
    assert traffic.accepted
    on_disk = sum(path.stat().st_size for path in server.data.log.glob("*.ndjson"))
    assert value(scrape(server), "foldlog_log_bytes_total") == on_disk


def test_fold_is_counted_from_the_snapshot(server: Server, traffic: Traffic, families: Families) -> None:
    status = server.get("/admin/api/status").json()
    assert value(families, "foldlog_events_counted_total") == status["balance"]["counted"] == traffic.accepted - 2
    assert value(families, "foldlog_events_duplicate_total") == status["balance"]["duplicates"] == 2
    assert value(families, "foldlog_events_conflicting_total") == 0
    assert value(families, "foldlog_lines_quarantined_total") == 0
    assert value(families, "foldlog_snapshot_generation") == status["generation"]
    assert value(families, "foldlog_fold_lines") == traffic.accepted
    assert 0 < value(families, "foldlog_fold_seconds") < 60
    assert 0 <= value(families, "foldlog_last_pass_age_seconds") < 60
    for name in ("foldlog_fold_last_success_timestamp_seconds", "foldlog_retention_last_success_timestamp_seconds"):
        assert abs(time.time() - value(families, name)) < 60
    assert by(families, "foldlog_segments", "state") == {"active": 2, "sealed": 2, "unfolded": 0}
    assert value(families, "foldlog_segments_sealed_total") == 2
    assert by(families, "foldlog_data_bytes", "kind")["archive"] == status["disk"]["archive_bytes"] > 0
    assert value(families, "foldlog_disk_reserve_bytes") == 0 < value(families, "foldlog_disk_free_bytes")


def test_malformed_http_is_counted_without_a_handler(families: Families) -> None:
    assert value(families, "foldlog_requests_total", route="none", status="400", code="http") == 1


def test_text_is_valid_prometheus_text(server: Server, families: Families) -> None:
    answer = server.request("GET", "/metrics")
    assert answer.headers.get_content_type() == "text/plain"
    assert answer.headers["Cache-Control"] == "no-store"
    text = answer.body.decode("utf-8")
    for name, family in families.items():
        assert family.documentation, name
        assert text.count(f"# HELP {name} ") == text.count(f"# TYPE {name} ") == 1
        assert re.fullmatch(r"foldlog_[a-z_]+", name)
        assert name.endswith("_total") == (family.type == "counter")
        assert family.type in {"counter", "gauge", "histogram"}


def test_samples_are_unique(families: Families) -> None:
    samples = [
        (sample.name, tuple(sorted(sample.labels.items()))) for family in families.values() for sample in family.samples
    ]
    assert len(samples) == len(set(samples))


HISTOGRAMS = ("foldlog_commit_seconds", "foldlog_fsync_seconds", "foldlog_group_events")


@pytest.mark.parametrize("worker", ["0", "1"])
@pytest.mark.parametrize("name", HISTOGRAMS)
def test_buckets_are_cumulative_and_the_last_counts_everything(families: Families, name: str, worker: str) -> None:
    samples = [sample for sample in families[name].samples if sample.labels["worker"] == worker]
    buckets = [(float(sample.labels["le"]), sample.value) for sample in samples if sample.name == f"{name}_bucket"]
    assert buckets == sorted(buckets) and len(buckets) > 10
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    assert buckets[-1] == (float("inf"), value(families, f"{name}_count", worker=worker))
    assert value(families, f"{name}_sum", worker=worker) > 0


def test_group_is_counted_in_the_bucket_of_its_size(server: Server) -> None:
    before = scrape(server)
    assert server.post([{**GOOD} for _ in range(30)]).status == 200
    after = scrape(server)
    bucket = "foldlog_group_events_bucket"
    grown = {le: value(after, bucket, le=le) - value(before, bucket, le=le) for le in ("10", "25", "50", "+Inf")}
    assert grown == {"10": 0, "25": 0, "50": 1, "+Inf": 1}


def test_metrics_need_no_token_and_identify_no_visitor(server: Server, families: Families) -> None:
    labels = {label for family in families.values() for sample in family.samples for label in sample.labels.values()}
    assert labels & {"127.0.0.1", "visitor-1", "pageview", server.host} == set()
    routes = {sample.labels["route"] for sample in families["foldlog_requests_total"].samples}
    assert routes <= {EVENTS, "/healthz", "/readyz", "/metrics", "/admin/api/fold", "/admin/api/status", "none"}


def test_killed_worker_is_down_and_the_others_answer(server: Server, families: Families) -> None:
    counted = value(families, "foldlog_events_counted_total")
    os.kill(server.child("ingest-1"), signal.SIGKILL)
    until(lambda: not reachable(server, "1"))
    found = scrape(server)
    assert by(found, "foldlog_worker_up", "worker") == {"0": 1, "1": 0}
    assert set(by(found, "foldlog_events_accepted_total", "worker")) == {"0"}
    assert value(found, "foldlog_events_counted_total") == counted
    until(lambda: workers_up(server) == {"0": 1, "1": 1})
    assert value(scrape(server), "foldlog_events_accepted_total", worker="1") == 0


def reachable(server: Server, worker: str) -> bool:
    try:
        return value(scrape(server), "foldlog_worker_up", worker=worker) == 1
    except OSError:  # the connection was one of the worker that died
        return True


def named_rows(heading: str) -> dict[str, list[str]]:
    """The rows of a table whose first cell is in code font, by what stands in it."""
    return {cells[0].strip("`"): cells for cells in rows(section(page(PAGE), heading)) if cells[0].startswith("`")}


def documented() -> dict[str, list[str]]:
    """Metric → the cells of its row."""
    return named_rows("What there is")


def in_code_font(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_page_names_every_metric_and_no_other(families: Families) -> None:
    assert set(documented()) == set(families)


def test_type_and_labels_are_the_documented_ones(families: Families) -> None:
    for name, (_, type_, labels, _, _) in documented().items():
        found = {label for sample in families[name].samples for label in sample.labels if label != "le"}
        assert (families[name].type, found) == (type_, in_code_font(labels)), name


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in yaml.safe_load(page(RULES))["groups"] for rule in group["rules"]}


def used_by(rule: dict[str, Any]) -> set[str]:
    """The metrics that an alert looks at, by the names that the page has."""
    names = set(re.findall(r"foldlog_[a-z_]+", rule["expr"]))
    return {re.sub(r"_(bucket|sum|count)$", "", name) if name.startswith(HISTOGRAMS) else name for name in names}


def test_alerts_use_metrics_that_exist(families: Families) -> None:
    for name, rule in alerts().items():
        assert used_by(rule) <= set(families), name
        assert used_by(rule), name


def test_alerts_use_labels_that_exist(families: Families) -> None:
    for name, rule in alerts().items():
        matched = {label for braces in re.findall(r"foldlog_\w+\{([^}]*)\}", rule["expr"])
                   for label in re.findall(r'(\w+)=', braces.replace("=~", "="))}  # fmt: skip
        known = {label for metric in used_by(rule) for sample in families[metric].samples for label in sample.labels}
        assert matched <= known, name
        shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        assert shown <= known | {"instance", "job"}, name


def test_every_alert_has_a_condition_severity_and_summary() -> None:
    for name, rule in alerts().items():
        assert name.startswith("Foldlog")
        assert re.fullmatch(r"\d+[smh]", rule["for"]), name
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert rule["annotations"]["summary"] and rule["annotations"]["description"], name


def test_page_names_the_alerts_of_each_metric() -> None:
    told = {name: in_code_font(cells[4]) for name, cells in documented().items()}
    assert told == {name: {alert for alert, rule in alerts().items() if name in used_by(rule)} for name in told}


def test_page_names_the_alerts_of_each_check_of_readiness(server: Server) -> None:
    table = {name: in_code_font(cells[1]) for name, cells in named_rows("Alerts").items()}
    checks = [check["name"] for check in server.request("GET", "/readyz").json()["checks"]]
    assert set(table) == {*checks, "snapshot", "set_aside", "day_merge", "publish"}
    assert {name for names in table.values() for name in names if name.startswith("Foldlog")} <= set(alerts())


@pytest.mark.long
def test_numbers_of_settings_in_the_rules_are_their_defaults() -> None:
    defaults = Settings()
    rules = {name: rule["expr"] for name, rule in alerts().items()}
    assert f"> {3 * defaults.fold_interval:g}" in rules["FoldlogFoldLate"]
    assert f"> {defaults.fold_interval:g}" in rules["FoldlogFoldSlow"]
    assert f"* {defaults.queue_max_requests} or" in rules["FoldlogQueueNearlyFull"]
    assert rules["FoldlogQueueNearlyFull"].endswith(f"* {defaults.queue_max_bytes}")
