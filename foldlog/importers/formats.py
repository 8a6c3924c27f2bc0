"""The formats of access logs by name: how a line is taken apart into the columns that
an event needs.

A line whose address is empty or no address, or that has no time or status, is not
understood. All matching is done by RE2, whose time is linear in the line.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# What a format may know of a request; what it does not know is an empty text.
COLUMNS = ("address", "forwarded", "method", "target", "status", "size", "referrer", "agent", "host", "content_type")
# How times are written.
CLF_TIME, ISO_TIME, EPOCH_TIME, W3C_TIME, LOCAL_TIME, ANY_TIME = "clf", "iso", "epoch", "w3c", "local", "any"

QUOTED = r'(?:[^"\\]|\\.)*'
# A request: method, target (with blanks in it), protocol; or anything else in quotes.
REQUEST = rf'"(?:(?P<method>[A-Za-z]{{1,20}}) (?P<target>(?:[^"\\]|\\.)*?)(?: HTTP/[0-9.]+)?|{QUOTED})"'
# One address, a list of X-Forwarded-For, or a load balancer's before the client's.
ADDRESSES = r"(?:- )?(?P<address>[0-9A-Fa-f:.][0-9A-Fa-f:.,\[\] ]*)"
ZONE = r"[+-](?:[01]\d|2[0-3])[0-5]\d"
TIME_LOCAL = rf"(?P<time>[^\]\"]+ {ZONE})"
_FIRST = rf"{ADDRESSES} \S+ .*?\[{TIME_LOCAL}\] {REQUEST} (?P<status>\d{{3}}) (?P<size>\S+)"
_LAST = rf'"(?P<referrer>{QUOTED})" "(?P<agent>{QUOTED})"'
_BEHIND = rf'(?: "(?P<forwarded>{QUOTED})")?(?:[ \t].*)?'
# With a port or a dot in it: any other word before the address is not understood.
_HOST = r"(?:(?P<host>(?:[A-Za-z0-9_-]+\.)+[A-Za-z0-9_-]*(?::\d+)?|[A-Za-z0-9_-]+:\d+|\[[0-9A-Fa-f:.]+\](?::\d+)?))"


@dataclass(frozen=True)
class LineFormat:
    """`pattern` has a group for each column that it knows, and `time` (or `date` and
    `clock`). A JSON format has `paths` instead: for each column the places where it
    may be.
    """

    name: str
    time: str
    pattern: str = ""
    paths: dict[str, tuple[str, ...]] = field(default_factory=dict)
    # SQL around a column `{}` of this format, such as an agent with + for blanks.
    around: dict[str, str] = field(default_factory=dict)
    # Most of its lines are those of usual_lines.py.
    is_combined: bool = False

    @property
    def knows_hosts(self) -> bool:
        return "host" in self.paths or "(?P<host>" in self.pattern


_HTTP_HOST = r"(?:[A-Za-z]+://(?P<host>[^:/?#\s\"\[\]]+|\[[^\]]*\])(?::\d+)?)?"
_ALB = (
    r"(?:[a-z0-9]{2,6} )?(?P<time>\S+) \S+ (?P<address>\S+):\d+ \S+ \S+ \S+ \S+ "
    r"(?P<status>\d{3}) \S+ \S+ (?P<size>\d+) "
    rf'"(?:(?P<method>[A-Z]{{1,20}}) {_HTTP_HOST}(?P<target>[^"]*?) HTTP/[0-9.]+|{QUOTED})" '
    rf'"(?P<agent>{QUOTED})".*'
)
_HAPROXY = (
    r"(?P<address>[0-9A-Fa-f:.]+):\d+ \[(?P<time>[^\]]+)\] \S+ \S+ \S+ (?P<status>\d{3}) (?P<size>\+?\d+) "
    r"\S+ \S+ \S+ \S+ \S+ (?:\{(?:(?:[^}|]*\|)*(?P<agent>Mozilla/[^}|]*)[^}]*|[^}]*)\} )?(?:\{[^}]*\} )?"
    rf'"(?:(?P<method>[A-Za-z]{{1,20}}) {_HTTP_HOST}(?P<target>{QUOTED}?)(?: HTTP/[0-9.]+)?|{QUOTED})".*'
)

_NGINX_JSON = {
    "address": ("$.remote_addr", "$.remote_ip", "$.client_ip", "$.client", "$.ip", "$.remote_address", "$.clientip"),
    "forwarded": ("$.http_x_forwarded_for", "$.x_forwarded_for", "$.xff", "$.forwarded_for"),
    "time": ("$.time_iso8601", "$.time_local", "$.msec", '$."@timestamp"', "$.timestamp", "$.time", "$.ts", "$.date"),
    "request": ("$.request",),
    "method": ("$.request_method", "$.method", "$.verb"),
    "target": ("$.request_uri", "$.uri", "$.url", "$.path"),
    "status": ("$.status", "$.response", "$.status_code"),
    "size": ("$.body_bytes_sent", "$.bytes_sent", "$.size", "$.bytes"),
    "referrer": ("$.http_referer", "$.http_referrer", "$.referer", "$.referrer"),
    "agent": ("$.http_user_agent", "$.user_agent", "$.agent", "$.useragent"),
    "host": ("$.host", "$.http_host", "$.server_name", "$.vhost"),
    "content_type": ("$.sent_http_content_type", "$.content_type"),
}
_CADDY_JSON = {
    "address": ("$.request.client_ip", "$.request.remote_ip", "$.request.remote_addr"),
    "forwarded": ('$.request.headers."X-Forwarded-For"[0]',),
    "time": ("$.ts", "$.time"),
    "method": ("$.request.method",),
    "target": ("$.request.uri",),
    "status": ("$.status",),
    "size": ("$.size",),
    "referrer": ("$.request.headers.Referer[0]",),
    "agent": ('$.request.headers."User-Agent"[0]',),
    "host": ("$.request.host",),
    "content_type": ('$.resp_headers."Content-Type"[0]',),
}
_TRAEFIK_JSON = {
    "address": ("$.ClientHost", "$.ClientAddr"),
    "forwarded": ('$."request_X-Forwarded-For"',),
    "time": ("$.StartUTC", "$.time"),
    "method": ("$.RequestMethod",),
    "target": ("$.RequestPath",),
    "status": ("$.DownstreamStatus",),
    "size": ("$.DownstreamContentSize",),
    "referrer": ("$.request_Referer",),
    "agent": ('$."request_User-Agent"',),
    "host": ("$.RequestHost", "$.RequestAddr"),
    "content_type": ('$."downstream_Content-Type"',),
}

# In the order in which `auto` prefers them where two understand as many lines. Those of
# w3c.py follow from the file itself.
FORMATS = {
    each.name: each
    for each in (
        LineFormat("combined", CLF_TIME, rf"{_FIRST} {_LAST}{_BEHIND}", is_combined=True),
        LineFormat("common", CLF_TIME, rf"{_FIRST}(?:[ \t].*)?"),
        LineFormat("vhost_combined", CLF_TIME, rf"{_HOST} {_FIRST}(?: {_LAST}{_BEHIND})?"),
        LineFormat("haproxy", LOCAL_TIME, _HAPROXY),
        LineFormat("alb", ISO_TIME, _ALB),
        LineFormat("nginx_json", ANY_TIME, paths=_NGINX_JSON),
        LineFormat("caddy", ANY_TIME, paths=_CADDY_JSON),
        LineFormat("traefik", ANY_TIME, paths=_TRAEFIK_JSON),
    )
}
W3C_NAMES = ("w3c", "iis", "cloudfront")
AUTO = "auto"
NAMES = (AUTO, *FORMATS, *W3C_NAMES)
