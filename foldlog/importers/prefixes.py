"""What syslog, container runtimes and their tools put before a line of an access log.

Each is recognised by its shape and passed over. A line with any other beginning is not
understood, rather than counted for a visitor that it does not have.
"""

from __future__ import annotations

from typing import Literal

Wrapping = Literal["", "prefix", "docker"]
WRAPPINGS: tuple[Wrapping, ...] = ("", "prefix", "docker")

_ISO = r"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:?\d\d)"
_TAG = r"[A-Za-z][A-Za-z0-9_./-]*(?:\[\d+\])?: ?"
_KINDS = (
    rf"(?:<\d{{1,3}}>)?[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d (?:[A-Za-z0-9_.:-]+ )?{_TAG}",  # syslog (RFC 3164)
    r"<\d{1,3}>1 \S+ \S+ \S+ \S+ \S+ (?:-|\[[^\]]*\]) ?",  # syslog (RFC 5424)
    rf"{_ISO} (?:stdout|stderr) [FP] ",  # containerd, CRI-O
    rf"{_ISO} [A-Za-z0-9_.:-]+ {_TAG}",  # rsyslog, journalctl -o short-iso
    r"\[pod/[^\]]*\] ",  # kubectl logs --prefix
    r"(?:\x1b\[[0-9;]*m)?[A-Za-z0-9_.-]+ +\| (?:\x1b\[[0-9;]*m)?",  # docker compose logs
    rf"{_ISO} ",  # docker logs -t, kubectl logs --timestamps
    r"(?:<\d{1,3}>)?[A-Za-z][A-Za-z0-9_./-]*(?:\[\d+\])?: ",  # a tag alone
)
PREFIX = "^(?:" + "|".join(f"(?:{each})" for each in _KINDS) + "){1,3}"


def unwrapped(wrapping: Wrapping, literal: str) -> str:
    """SQL of the line without what is around it; `literal` is SQL of PREFIX."""
    if wrapping == "prefix":
        return f"regexp_replace(line, {literal}, '')"
    if wrapping == "docker":  # the files of the driver json-file
        return "CASE WHEN json_valid(line) THEN rtrim(json_extract_string(line, '$.log'), chr(10)) ELSE '' END"
    return "line"
