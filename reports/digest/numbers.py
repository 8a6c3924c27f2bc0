"""Numbers as a digest writes them. None cannot be known, and is a dash."""

from __future__ import annotations

UNKNOWN = "\N{EN DASH}"


def written(number: float | None, form: str) -> str:
    """`form`: count, decimal, percent, seconds."""
    if number is None:
        return UNKNOWN
    if form == "percent":
        return f"{number:.1%}"
    if form == "seconds":
        minutes, seconds = divmod(round(number), 60)
        return f"{minutes}m {seconds:02d}s" if minutes else f"{seconds}s"
    if form == "decimal":
        return f"{number:,.2f}".rstrip("0").rstrip(".")
    return f"{number:,}"


def change(now: float | None, before: float | None) -> str:
    """By how much it differs, such as +12%; empty where that cannot be said."""
    if now is None or not before:
        return ""
    return f"{(now - before) / before:+.0%}"
