"""Small exports of other tools in their formats, made here: docs/import.md says which
page or source each format was taken from.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from foldlog.importers.block_parser import Rules
from foldlog.importers.import_log import FUTURE_MAX_MS, Request, import_files
from foldlog.importers.inputs import inputs
from foldlog.importers.outcome import Imported
from foldlog.importers.site_choice import OtherHosts, SiteChoice
from shared.settings import Settings
from shared.timestamps import now_ms
from tests.builders.access_logs import SITE, nothing
from tests.builders.logs import data_directory
from tests.builders.silent_log import SilentLog

GOATCOUNTER_1 = (
    *("1Path", "Title", "Event", "Bot", "Session", "FirstVisit", "Referrer", "Referrer scheme", "Browser"),
    *("Screen size", "Location", "Date"),
)
GOATCOUNTER_2 = (
    *("2Path", "Title", "Event", "UserAgent", "Browser", "System", "Session", "Bot", "Referrer", "Referrer scheme"),
    *("Screen size", "Location", "FirstVisit", "Date"),
)
UMAMI = (
    *("website_id", "session_id", "visit_id", "event_id", "hostname", "browser", "os", "device", "screen", "language"),
    *("country", "region", "city", "url_path", "url_query", "utm_source", "utm_medium", "utm_campaign", "utm_content"),
    *("utm_term", "referrer_path", "referrer_query", "referrer_domain", "page_title", "gclid", "fbclid", "msclkid"),
    *("ttclid", "li_fat_id", "twclid", "event_type", "event_name", "tag", "distinct_id", "created_at", "job_id"),
)
PLAUSIBLE = {
    "imported_visitors_20230209_20230210.csv": (
        '"date","visitors","pageviews","bounces","visits","visit_duration"\n'
        '"2023-02-09",41,120,9,44,8249\n"2023-02-10",30,80,12,31,5145\n'
    ),
    "imported_pages_20230209_20230210.csv": (
        '"date","hostname","page","visits","visitors","pageviews"\n'
        '"2023-02-09","example.com","/docs, all",40,39,100\n"2023-02-09","example.com","/pricing",5,5,20\n'
        '"2023-02-10","example.com","/",31,30,80\n'
    ),
    "imported_custom_events_20230209_20230210.csv": (
        '"date","name","link_url","path","visitors","events"\n"2023-02-09","Signup","","",3,4\n'
    ),
}
GA4 = (
    "# ----------------------------------------\n# Pages and screens: Page path\n# Account: Example\n"
    "# Start date: 20260101\n# End date: 20260131\n# ----------------------------------------\n\n"
    "Page path and screen class,Views,Active users\n/,1025,410\n/pricing,200,98\n"
)


def session(number: int) -> str:
    return f"1f8b7c3e-0000-4000-8000-{number:012d}"


def hit(path: str = "/", visitor: int = 1, second: int = 0, **columns: str) -> dict[str, str]:
    """A row of GoatCounter's, of either version."""
    row = {
        "Path": path,
        "Title": f"Title of {path}",
        "Event": "false",
        "Session": session(visitor),
        "Bot": "0",
        "Browser": "Firefox 145",
        "System": "Linux",
        "Screen size": "1440,900,1",
        "Location": "DE-BE",
        "FirstVisit": "false",
        "Date": f"2026-03-01T10:{second // 60:02d}:{second % 60:02d}Z",
    }
    return {**row, **columns}


def view(number: int, visitor: int = 1, **columns: str) -> dict[str, str]:
    """A row of Umami's."""
    row = {
        "website_id": session(0),
        "session_id": session(visitor),
        "visit_id": session(100 + visitor),
        "event_id": session(1000 + number),
        "hostname": SITE,
        "browser": "firefox",
        "os": "Linux",
        "device": "desktop",
        "screen": "1440x900",
        "language": "de-DE",
        "country": "DE",
        "url_path": f"/{number}",
        "page_title": "Home",
        "event_type": "1",
        "created_at": f"2026-03-01 10:00:{number % 60:02d}",
    }
    return {**row, **columns}


def action(page_id: int, type_: str = "action", **fields: Any) -> dict[str, Any]:
    """An action of a visit of Matomo's."""
    made = {
        "type": type_,
        "url": f"http://{SITE}/page/{page_id}",
        "pageTitle": "A page",
        "pageId": str(page_id),
        "timestamp": 1_772_359_200 + page_id,
        "title": "A page",
        "icon": "",
    }
    return {**made, **fields}


def visit(number: int, details: list[Any], **fields: Any) -> dict[str, Any]:
    """A visit as Live.getLastVisitsDetails answers it, without what is not read."""
    made = {
        "idSite": "1",
        "idVisit": str(number),
        "visitIp": "203.0.113.9",
        "visitorId": f"{number:016x}",
        "actionDetails": details,
        "goalConversions": 0,
        "siteName": "Example",
        "actions": str(len(details)),
        "events": "0",
        "languageCode": "de-de",
        "countryCode": "de",
        "browserName": "Firefox",
        "resolution": "9x9",
        "operatingSystemName": "GNU/Linux",
        "deviceType": "Desktop",
        "referrerUrl": "https://search.example/?q=x",
    }
    return {**made, **fields}


def table(header: Iterable[str], rows: Iterable[Mapping[str, str]]) -> str:
    """CSV as the tools write it; a header such as `2Path` is the column `Path`."""
    names = list(header)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[row.get(name.lstrip("12"), "") for name in names] for row in rows])
    return text.getvalue()


def written_zip(path: Path, members: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def written_export(path: Path, content: str | bytes | list[dict[str, Any]]) -> Path:
    if isinstance(content, list):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def import_exports(
    root: Path,
    *files: Path | str,
    format_: str = "auto",
    site: str | None = SITE,
    other_hosts: OtherHosts = "skip",
    zone: str = "UTC",
    dry_run: bool = False,
) -> Imported:
    """Import files into the data directory below `root`, as `foldlog import` does."""
    data = data_directory(root / "data")
    rules = Rules(SiteChoice(site, (), other_hosts), now_ms() + FUTURE_MAX_MS, ZoneInfo(zone))
    request = Request(format_, rules, dry_run=dry_run, export_zone=ZoneInfo(zone))
    settings = Settings(data_dir=data.root, disk_reserve=0, durability="os")
    return asyncio.run(
        import_files(inputs([str(each) for each in files]), request, data, settings, SilentLog(), nothing)
    )
