"""Tokens, share links, retention holds and the doctor in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from ingest.api import holds, shares, tokens
from ingest.api.changing import JSON
from ingest.http.openapi_parts import TEXT, TOKEN_PROBLEMS, Object, header, operation, parameter, ref, response
from ingest.http.response_schemas import (
    ConfirmedDeletion,
    ListedShare,
    ListedToken,
    MadeShare,
    MadeToken,
    Shares,
    ShareSession,
    Tokens,
)
from ingest.observe.doctor import DoctorAnswer, DoctorFinding
from ingest.share_links.session import HEADER

MANAGEMENT_TYPES = (
    *(Tokens, ListedToken, MadeToken, Shares, ListedShare, MadeShare, ShareSession),
    *(tokens.NewToken, shares.NewShare, shares.OpenShare),
    *(holds.SeenHold, ConfirmedDeletion, DoctorAnswer, DoctorFinding),
)
_BODY_PROBLEMS = ("malformed", "media_type", "too_large", "invalid", "busy")
_DISK_PROBLEMS = ("busy", "unavailable", "disk_full")
SHARE = parameter(
    HEADER,
    TEXT,
    "By a share link instead of a token: its id, with its cookie, or the session of an embedded page.",
    "header",
)


def _body(kind: type) -> Object:
    return {"requestBody": {"required": True, "content": {JSON: {"schema": ref(kind)}}}}


def _managed(one: str, summary: str, of_all: type, new: type, made: type, problems: tuple[str, ...]) -> Object:
    listed = response("All of them, without their secrets.", {JSON: ref(of_all)})
    created = response("It is made, and its secret is shown this once.", {JSON: ref(made)})
    changing = (*TOKEN_PROBLEMS, *_BODY_PROBLEMS, *_DISK_PROBLEMS, "too_many", *problems)
    get = operation(f"get{one}s", f"{summary} that there are", {"200": listed}, TOKEN_PROBLEMS, token=True)
    post = operation(f"post{one}", "Make one", {"201": created}, changing, token=True)
    return {"get": get, "post": post | _body(new)}


def _revoked(one: str, problems: tuple[str, ...]) -> Object:
    id_ = parameter("id", TEXT | {"minLength": 1, "maxLength": 100}, "Which one.", "path") | {"required": True}
    done: dict[str, Any] = {"204": {"description": "It is revoked."}}
    codes = (*TOKEN_PROBLEMS, *_DISK_PROBLEMS, "no_such_name", *problems)
    return {"delete": operation(f"delete{one}", "Revoke one", done, codes, parameters=[id_], token=True)}


def _post_share_session() -> Object:
    cookie = {"Set-Cookie": header("The session, but for an embedded page.", TEXT, required=False)}
    ok = response("The link is open.", {JSON: ref(ShareSession)}, cookie)
    problems = ("share", "password", "origin", "guesses", *_BODY_PROBLEMS)
    return operation("postShareSession", "Open a share link", {"200": ok}, problems) | _body(shares.OpenShare)


def _post_hold() -> Object:
    which = {"type": "string", "enum": ["log", "archive", "counters"]}
    kind = parameter("id", which, "Of what the deletion is.", "path") | {"required": True}
    ok = response("It is confirmed; the next pass deletes.", {JSON: ref(ConfirmedDeletion)})
    problems = (
        *(*TOKEN_PROBLEMS, *_BODY_PROBLEMS, *_DISK_PROBLEMS),
        *("query", "no_such_hold", "hold_changed", "snapshot"),
    )
    post = operation("postHold", "Confirm a deletion on hold", {"202": ok}, problems, parameters=[kind], token=True)
    return post | _body(holds.SeenHold)


def _get_doctor() -> Object:
    ok = response("What it found, at most half a minute ago.", {JSON: ref(DoctorAnswer)})
    problems = (*TOKEN_PROBLEMS, "query", "doctor_failed", "doctor_timeout")
    return operation("getDoctor", "What `foldlog doctor` finds on this host", {"200": ok}, problems, token=True)


_OF_STORE = ("store_unavailable",)
MANAGEMENT_PATHS: Object = {
    "/admin/api/tokens": _managed("Token", "The tokens", Tokens, tokens.NewToken, MadeToken, _OF_STORE),
    "/admin/api/tokens/{id}": _revoked("Token", _OF_STORE),
    "/admin/api/shares": _managed("Share", "The share links", Shares, shares.NewShare, MadeShare, _OF_STORE),
    "/admin/api/shares/{id}": _revoked("Share", ()),
    "/admin/api/holds/{id}": {"post": _post_hold()},
    "/admin/api/doctor": {"get": _get_doctor()},
    "/admin/api/share-session": {"post": _post_share_session()},
}
