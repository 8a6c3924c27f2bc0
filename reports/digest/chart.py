"""The chart of a digest: a bar for each interval, and the time before as a line behind
it, as SVG without script, style or anything from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reports.digest.questions import Note, Report
from shared.control_chars import escape_controls

WIDTH, HEIGHT, LEFT, BELOW = 640, 180, 48, 22
_BAR, _BEFORE, _LINE, _TEXT, _NOTE = "#4a80bf", "#8a6d1f", "#dfe4ea", "#566170", "#9c2f6b"


def svg(report: Report, measure: str, notes: Sequence[Note] = ()) -> str:
    """What is None has no bar. A bar with notes has a line through it."""
    rows = report["rows"]
    now = [row[measure] for row in rows]
    before = [row.get("previous", {}).get(measure) for row in rows]
    top = _round_up(max([number for number in (*now, *before) if number is not None], default=0))
    step = (WIDTH - LEFT) / max(1, len(rows))
    parts = [
        *_axis(top),
        *_bars(rows, now, top, step),
        *_before(before, top, step),
        *_marks(notes, step),
        *_dates(rows, step),
    ]
    label = escape(
        f"{measure} by {report['interval']}: {rows[0]['time'][:10]} to {rows[-1]['time'][:10]}" if rows else ""
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + BELOW}" width="{WIDTH}" role="img"'
    return f'{head} aria-label="{label}" font-family="sans-serif" font-size="11">{"".join(parts)}</svg>'


def _round_up(most: float) -> float:
    """The next of 1, 2, 5, 10 … at or above."""
    size = 1
    while True:
        for digit in (1, 2, 5):
            if digit * size >= most:
                return digit * size
        size *= 10


def _height(number: float, top: float) -> float:
    return HEIGHT * number / top


def _axis(top: float) -> list[str]:
    found = []
    for part in (0, 0.5, 1):
        y = HEIGHT - HEIGHT * part + 0.5
        found.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:g}" y2="{y:g}" stroke="{_LINE}"/>')
        above = max(10, y - 2)
        found.append(f'<text x="{LEFT - 6}" y="{above:g}" text-anchor="end" fill="{_TEXT}">{top * part:,g}</text>')
    return found


def _bars(rows: Sequence[Report], numbers: Sequence[float | None], top: float, step: float) -> list[str]:
    found = []
    for index, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        if number is not None:
            height = _height(number, top)
            title = f"<title>{escape(row['time'][:16].replace('T', ' '))}: {number:,}</title>"
            place = f'x="{LEFT + index * step + step * 0.1:.1f}" y="{HEIGHT - height:.1f}"'
            found.append(f'<rect {place} width="{step * 0.8:.1f}" height="{height:.1f}" fill="{_BAR}">{title}</rect>')
    return found


def _before(numbers: Sequence[float | None], top: float, step: float) -> list[str]:
    points = [
        f"{LEFT + (index + 0.5) * step:.1f},{HEIGHT - _height(number, top):.1f}"
        for index, number in enumerate(numbers)
        if number is not None
    ]
    look = f'fill="none" stroke="{_BEFORE}" stroke-width="2" stroke-dasharray="5 4"'
    return [f'<polyline points="{" ".join(points)}" {look}/>'] if points else []


def _marks(notes: Sequence[Note], step: float) -> list[str]:
    found = []
    for bar in sorted({note.bar for note in notes}):
        x = LEFT + (bar + 0.5) * step
        said = escape(escape_controls("; ".join(note.text for note in notes if note.bar == bar)))
        look = f'stroke="{_NOTE}" stroke-width="1.5" stroke-dasharray="2 3"'
        found.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT}" {look}><title>{said}</title></line>')
    return found


def _dates(rows: Sequence[Report], step: float) -> list[str]:
    """About eight of them."""
    every = max(1, -(-len(rows) // 8))
    return [
        f'<text x="{LEFT + (index + 0.5) * step:.1f}" y="{HEIGHT + 16}" text-anchor="middle" fill="{_TEXT}">'
        f"{escape(row['time'][5:10] if len(rows) < 400 else row['time'][:7])}</text>"
        for index, row in enumerate(rows)
        if index % every == 0
    ]
