"""Ids of visitors and sessions that are none: placeholders, and texts that would
rewrite a terminal.
"""

from __future__ import annotations

from shared.control_chars import CONTROL_CHARS

# Broken client code sends these in place of an id. If they counted, all its visitors
# would be one.
PLACEHOLDER_IDS = frozenset(
    [
        "null",
        "undefined",
        "none",
        "nil",
        "nan",
        "anonymous",
        "anon",
        "guest",
        "unknown",
        "undef",
        "true",
        "false",
        "id",
        "visitor",
        "distinct_id",
        "user_id",
        "not_authenticated",
        "[object",
        "object]",
        "{}",
        "[]",
        "0",
        "-1",
    ]
) | {"[object object]"}


def identity_error(field: str, identity: str) -> tuple[str, str, str] | None:
    """Why an id is none: (code, field, detail), or None."""
    if not identity.isprintable() and not is_harmless(identity):
        return f"{field}_invalid", field, f"a {field} must not have control or text-direction characters"
    if not identity.strip("0- ") or identity.lower() in PLACEHOLDER_IDS:
        return f"{field}_junk", field, f"the {field} is a placeholder; leave the field out instead"
    return None


def is_harmless(text: str) -> bool:
    """Whether no character may rewrite a terminal or hide text. True for every
    printable text, and some others.
    """
    return CONTROL_CHARS.search(text) is None
