"""Every route of a worker; docs/api.md lists each of them."""

from __future__ import annotations

from ingest.api import dashboard, demo, share_page, tracker
from ingest.api.annotations import delete_annotation_, get_annotations, put_annotation_
from ingest.api.doctor import get_doctor
from ingest.api.exports import get_export
from ingest.api.fold import post_fold
from ingest.api.holds import post_hold
from ingest.api.kinds import get_batch, get_cohorts, get_funnel, get_goals_report, get_live, get_paths
from ingest.api.live_stream import get_live_stream
from ingest.api.named_filters import delete_of, get_of, put_of
from ingest.api.reports import get_report
from ingest.api.shares import delete_share, get_shares, post_share, post_share_session
from ingest.api.snapshot import get_snapshot
from ingest.api.status import get_status
from ingest.api.tokens import delete_token, get_tokens, post_token
from ingest.api.visitors import delete_visitor, get_visitor
from ingest.collect.handler import post_events, preflight_events
from ingest.collect.pixel import get_pixel
from ingest.http.openapi import get_openapi
from ingest.http.router import Route
from ingest.observe.health import get_health, get_readiness
from ingest.observe.metrics import get_metrics
from shared.pixel_keys import PIXEL
from shared.settings import Settings

ROUTES: list[Route] = [
    ("POST", "/v1/events", post_events),
    ("OPTIONS", "/v1/events", preflight_events),
    ("GET", PIXEL, get_pixel),
    ("GET", "/healthz", get_health),
    ("GET", "/readyz", get_readiness),
    ("GET", "/metrics", get_metrics),
    ("GET", "/openapi.json", get_openapi),
    ("GET", "/admin/api/snapshot", get_snapshot),
    ("GET", "/admin/api/report", get_report),
    ("GET", "/admin/api/batch", get_batch),
    ("GET", "/admin/api/live", get_live),
    ("GET", "/admin/api/cohorts", get_cohorts),
    ("GET", "/admin/api/funnel", get_funnel),
    ("GET", "/admin/api/paths", get_paths),
    ("GET", "/admin/api/goals/report", get_goals_report),
    ("GET", "/admin/api/goals", get_of("goal")),
    ("PUT", "/admin/api/goals", put_of("goal")),
    ("DELETE", "/admin/api/goals", delete_of("goal")),
    ("GET", "/admin/api/filters", get_of("filter")),
    ("PUT", "/admin/api/filters", put_of("filter")),
    ("DELETE", "/admin/api/filters", delete_of("filter")),
    ("GET", "/admin/api/annotations", get_annotations),
    ("PUT", "/admin/api/annotations", put_annotation_),
    ("DELETE", "/admin/api/annotations", delete_annotation_),
    ("GET", "/admin/api/export", get_export),
    ("GET", "/admin/api/live/stream", get_live_stream),
    ("GET", "/admin/api/status", get_status),
    ("POST", "/admin/api/fold", post_fold),
    ("POST", "/admin/api/holds/{id}", post_hold),
    ("GET", "/admin/api/doctor", get_doctor),
    ("GET", "/admin/api/visitors/{id}", get_visitor),
    ("DELETE", "/admin/api/visitors/{id}", delete_visitor),
    ("GET", "/admin/api/tokens", get_tokens),
    ("POST", "/admin/api/tokens", post_token),
    ("DELETE", "/admin/api/tokens/{id}", delete_token),
    ("GET", "/admin/api/shares", get_shares),
    ("POST", "/admin/api/shares", post_share),
    ("DELETE", "/admin/api/shares/{id}", delete_share),
    ("POST", "/admin/api/share-session", post_share_session),
    *share_page.ROUTES,
    *tracker.ROUTES,
    *dashboard.ROUTES,
]


def routes_by_settings(settings: Settings) -> list[Route]:
    """The paths besides these: where the operator wants events, script and pixel, and
    what only a demo has.
    """
    routes: list[Route] = []
    for path in settings.collect_paths:
        routes += [("POST", path, post_events), ("OPTIONS", path, preflight_events)]
    if settings.script_path:
        routes.append(("GET", settings.script_path, tracker.get_newest))
    if settings.pixel_path:
        routes.append(("GET", settings.pixel_path, get_pixel))
    if settings.demo:
        routes += demo.routes()
    return routes
