"""Findings of `foldlog doctor` about the store of FOLDLOG_STORE: pure functions."""

from __future__ import annotations

from foldlog.database_url import IgnoredUrl
from foldlog.doctor.finding import Finding
from foldlog.quantities import counted, span
from shared.settings import Settings
from shared.stores.condition import StoreStatus

_NAME = "store"


def store(found: StoreStatus, newest: int, settings: Settings) -> Finding:
    """Whether the store takes what this host publishes. `newest`: the generation
    here.
    """
    if found.refused:
        return Finding(_NAME, "wrong", str(found.error), "docs/runbook.md, The store refuses this host")
    held = f"generation {found.generation:,}" if found.generation else "nothing of this host"
    if found.failures:
        failed = f"{counted(found.failures, 'attempt')} to publish failed, the last with: {found.error}"
        do = "docs/runbook.md, The store is down"
        return Finding(_NAME, "warning", f"{found.store} holds {held}; {failed}", do)
    if not found.published_at and newest:
        do = "`foldlog store publish` publishes, or says why not; `foldlog serve` does it after each fold"
        return Finding(_NAME, "warning", f"{found.store}: nothing has been published to it yet", do)
    if found.lag_s > settings.fold_late_after_s:
        behind = f"{found.store} holds {held} of {newest:,}, and is {span(found.lag_s)} behind"
        waits = f": {counted(found.waiting_ids, 'id')} wait for a pass" if found.waiting_ids else ""
        return Finding(_NAME, "warning", f"{behind}{waits}", "docs/runbook.md, The store is behind")
    since = f", since {found.published_at}" if found.published_at else ""
    return Finding(_NAME, "ok", f"{found.store} holds {held}{since}")


def database_url(ignored: IgnoredUrl) -> Finding:
    """DATABASE_URL is set and not used."""
    if ignored.is_meant:
        return Finding("DATABASE_URL", "ok", f"{ignored.found}; {ignored.do}")
    return Finding("DATABASE_URL", "warning", ignored.found, ignored.do)
