"""GET /tracker.js and /tracker.v1.js: the browser script.

Public, and readable for pages of every host: they load it with a hash (SRI), which
needs CORS. `/tracker.js` is the newest: a browser asks again after an hour, and gets a
304 until an upgrade has changed it. `/tracker.v1.js` never changes, so that a hash of
it stays right, and is kept for a year.
"""

from __future__ import annotations

from ingest.api.static_file import static_file
from ingest.http.router import Handler, Route

NEWEST = "public, max-age=3600"
FROZEN = "public, max-age=31536000, immutable"


def script(name: str, caching: str) -> Handler:
    """A handler that serves one file of web/tracker/."""
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": caching,
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return static_file(f"tracker/{name}", headers)


get_newest = script("tracker.min.js", NEWEST)
ROUTES: list[Route] = [
    ("GET", "/tracker.js", get_newest),
    ("GET", "/tracker.v1.js", script("tracker.v1.js", FROZEN)),
]
