"""Referrer spam: visits that only want to be seen in reports. The operator names the
hosts in FOLDLOG_REFERRER_SPAM_FILE; events from them and their subdomains are bots'.

The file is read in each pass, so that a change needs no restart, and never stops one:
what cannot be read is said and left out, and a rebuild counts it again.
"""

from __future__ import annotations

from pathlib import Path

from compactor.context import PassContext
from shared.host_names import SITE, host_of
from shared.log import Log
from shared.sql.texts import TextNumbers, by_numbers

FILE_MAX_BYTES = 16 << 20  # 800,000 hosts
_LABELS_MAX = 127  # of a host name of 253 characters


def flag_referrer_spam(context: PassContext) -> None:
    """Mark the lines of `incoming` that come from a host of the operator's file."""
    path = context.settings.referrer_spam_file
    hosts = spam_hosts(path, context.log) if path is not None else frozenset()
    if not hosts:
        return

    def flag(numbers: TextNumbers) -> bool:
        numbered = f"(SELECT referrer, {numbers.number('referrer')} AS number FROM incoming WHERE referrer IS NOT NULL)"
        found = context.database.execute(
            f"SELECT number, min(referrer), {numbers.is_ambiguous('referrer')} FROM {numbered} GROUP BY number"
        ).fetchall()
        if any(is_ambiguous for _, _, is_ambiguous in found):
            return True
        spam = [number for number, referrer, _ in found if is_spam(referrer, hosts)]
        if spam:
            of_spam = f"number IN (SELECT unnest($1::{numbers.type}[]))"
            lines = f"SELECT rowid, {numbers.number('referrer')} AS number FROM incoming WHERE referrer IS NOT NULL"
            marked = f"SELECT rowid FROM ({lines}) WHERE {of_spam}"
            context.database.execute(f"UPDATE incoming SET is_spam = true WHERE rowid IN ({marked})", [spam])
        return False

    by_numbers(flag)


def is_spam(host: str, hosts: frozenset[str]) -> bool:
    """Whether a host, or one that it is a subdomain of, is among `hosts`."""
    for _ in range(_LABELS_MAX):
        if host in hosts:
            return True
        _, dot, host = host.partition(".")
        if not dot:
            return False
    return False


def spam_hosts(path: Path, log: Log) -> frozenset[str]:
    """The hosts of the file, one a line; what stands behind a # is a remark. None if it
    cannot be read, which is said.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        log.warning("referrer_spam_unreadable", path=str(path), error=error.strerror or type(error).__name__)
        return frozenset()
    if len(content) > FILE_MAX_BYTES:
        log.warning("referrer_spam_unreadable", path=str(path), error=f"it has more than {FILE_MAX_BYTES} bytes")
        return frozenset()
    lines = content.decode("utf-8-sig", "replace").splitlines()
    named = {number: host_of(line.partition("#")[0].strip()) for number, line in enumerate(lines, start=1)}
    wrong = [number for number, host in named.items() if host and not SITE.fullmatch(host)]
    if wrong:
        log.warning("referrer_spam_lines", path=str(path), lines=len(wrong), first=wrong[0])
    return frozenset(host for host in named.values() if SITE.fullmatch(host))
