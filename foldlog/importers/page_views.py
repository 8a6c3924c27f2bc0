"""What a request was for: the type that is a property of each event, and what
`--pages-only` counts.

The type follows from the content type where a log has it, else from the ending of the
path. A probe is a request of a monitor, by its agent or by a path made for monitors.
"""

from __future__ import annotations

_ENDINGS = {
    "image": "png jpg jpeg gif svg webp avif ico bmp tif tiff heic",
    "style": "css",
    "script": "js mjs cjs map wasm",
    "font": "woff woff2 ttf otf eot",
    "feed": "rss atom",
    "media": "mp3 mp4 m4a m4v webm ogg ogv wav flac mov avi mkv m3u8 ts aac",
    "document": "pdf doc docx xls xlsx ppt pptx odt ods odp epub txt md csv",
    "download": "zip gz tgz bz2 xz zst tar 7z rar exe msi dmg pkg deb rpm apk iso bin jar whl",
    "data": "json xml yaml yml webmanifest",
}
_CONTENT_TYPES = {
    "text/html": "page",
    "application/xhtml": "page",
    "image/": "image",
    "text/css": "style",
    "text/javascript": "script",
    "application/javascript": "script",
    "font/": "font",
    "application/rss": "feed",
    "application/atom": "feed",
    "audio/": "media",
    "video/": "media",
    "application/pdf": "document",
    "application/json": "data",
}
_AGENTS = (
    "kube-probe|ELB-HealthChecker|GoogleHC|UptimeRobot|Uptime-Kuma|Pingdom|StatusCake|Site24x7|Better Uptime|"
    "HetrixTools|NodePing|Consul Health|HAProxy|Blackbox|check_http|Zabbix|Datadog|updown\\.io|Amazon-Route53-Health"
)
_PROBE_PATHS = (
    "/(?:healthz?|livez|readyz|ready|live|ping|status|server-status|nginx_status|stub_status|metrics|alive|up|"
    "health[-_]?check|_health|actuator/health)/?"
)
_PROBE_CHARS = 20  # no such path is longer
# A look for a text costs less than the expression, which most paths do not match.
_MAY_BE_FEED = "(contains(path, '/feed') OR contains(path, '/rss') OR contains(path, '/atom'))"
_FEED_PATHS = "(?:/[^?]*)?/(?:feed|rss|atom)(?:\\.xml)?/?"


def type_sql(*, by_content_type: bool) -> str:
    """SQL of the type from the columns path, ending, agent and content_type."""
    cases = [
        f"WHEN regexp_matches(agent, '(?:{_AGENTS})') THEN 'probe'",
        f"WHEN strlen(path) <= {_PROBE_CHARS} AND regexp_full_match(path, '{_PROBE_PATHS}') THEN 'probe'",
        f"WHEN {_MAY_BE_FEED} AND regexp_full_match(path, '{_FEED_PATHS}') THEN 'feed'",
    ]
    if by_content_type:
        cases += [f"WHEN starts_with(content_type, '{each}') THEN '{type_}'" for each, type_ in _CONTENT_TYPES.items()]
    cases.append("WHEN ending = '' THEN 'page'")
    # Not IN: DuckDB would join by the text's hash.
    cases += [
        f"WHEN regexp_full_match(ending, '{texts.replace(' ', '|')}') THEN '{type_}'"
        for type_, texts in _ENDINGS.items()
    ]
    return f"CASE {' '.join(cases)} ELSE 'page' END"
