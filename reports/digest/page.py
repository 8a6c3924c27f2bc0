"""A digest as an HTML page that needs nothing else: it can be printed, sent and opened
without a network. Whatever clients sent stands in it as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from html import escape

from reports.digest.chart import svg
from reports.digest.numbers import change, written
from reports.digest.questions import NUMBERS, TABLES, Digest, Report
from shared.control_chars import escape_controls

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a222c; max-width: 660px; margin: 24px auto; padding: 0 16px; }
h1 { font-size: 20px; margin: 0; } h2 { font-size: 15px; margin: 24px 0 6px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { text-align: right; padding: 3px 8px; border-bottom: 1px solid #dfe4ea; font-weight: 400; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; width: 100%; }
thead th, p { color: #566170; font-size: 13px; } svg { max-width: 100%; height: auto; margin-top: 16px; }
ul { font-size: 13px; padding-left: 18px; }
@media print { body { margin: 0 auto; } table, svg { break-inside: avoid; } }
"""


def page(digest: Digest) -> str:
    """The whole page."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title(digest))}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{''.join(_body(digest))}</body>\n</html>\n"
    )


def title(digest: Digest) -> str:
    return f"{digest.about}, {dates(digest.totals)}"


def dates(report: Report) -> str:
    """The first and the last date, both included, where the time is of whole days."""
    first, end = report["from"], report["to"]
    if first[11:19] == end[11:19] == "00:00:00":
        last = date.fromisoformat(end[:10]) - timedelta(days=1)
        return first[:10] if first[:10] == str(last) else f"{first[:10]} to {last}"
    return f"{first} to {end}"


def _body(digest: Digest) -> Iterator[str]:
    totals = digest.totals
    yield f"<h1>{_text(digest.about)}</h1>\n<p>{_text(dates(totals))}, {_text(totals['tz'])}. Compared with "
    yield f"{'the year before' if totals['compare'] == 'year' else 'the time before'}. Known bots are left out.</p>\n"
    yield from _table("", ("", "now", "before", ""), _number_rows(totals))
    yield f"{svg(digest.chart, 'visitors', digest.notes)}\n"
    yield f"<p>Visitors by {_text(digest.chart['interval'])}; the line is the time before.</p>\n"
    if digest.notes:
        items = "".join(f"<li>{_text(note.at)} <bdi>{_text(note.text)}</bdi></li>" for note in digest.notes)
        yield f'<ul aria-label="Notes">{items}</ul>\n'
    for (_, name), report in zip(TABLES, digest.tables, strict=True):
        yield f"<h2>{name}</h2>\n"
        rows = [_row(row) for row in report["rows"]]
        yield from _table(name, ("", "visitors", "events"), rows) if rows else ("<p>Nothing in this time.</p>\n",)
    yield f"<p>{_text(_about(totals))}</p>\n"


def _number_rows(totals: Report) -> list[tuple[str, ...]]:
    now, before = totals["total"], totals["total"].get("previous", {})
    return [
        (label, written(now[name], form), written(before.get(name), form), change(now[name], before.get(name)))
        for name, label, form in NUMBERS
        if name != "value_sum" or now[name]
    ]


def _about(totals: Report) -> str:
    reason = f" Left out where there is no exact number: {totals['reason']}." if "reason" in totals else ""
    return f"Made by Foldlog, as of {totals['as_of']}.{reason}"


def _row(row: Report) -> tuple[str, ...]:
    value = "(none)" if row["value"] is None else row["value"]
    return value, written(row["visitors"], "count"), written(row["events"], "count")


def _table(name: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield f'<table aria-label="{_text(name or "Numbers")}">\n<thead><tr>'
    yield "".join(f'<th scope="col">{head}</th>' for head in heads)
    yield "</tr></thead>\n<tbody>\n"
    for first, *others in rows:
        cells = "".join(f"<td>{_text(each)}</td>" for each in others)
        yield f'<tr><th scope="row"><bdi>{_text(first)}</bdi></th>{cells}</tr>\n'
    yield "</tbody>\n</table>\n"


def _text(text: str) -> str:
    return escape(escape_controls(text))
