"""What an answer says of each host that it is of. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from reports.hosts.ledger import Host, OwnSaltDay
from reports.query import Query
from shared.generations.snapshot import EMPTY_TIME
from shared.lateness import LATENESS_H

# A host publishes after each pass, or notes that it has nothing new: once a minute with
# the default settings.
BEHIND_AFTER_S = 600


def listed(hosts: Sequence[Host], query: Query) -> list[dict[str, Any]]:
    """By name. A host that has published nothing has no `as_of` and is behind; a
    retired one is not.
    """
    found = [
        {
            "instance": host.instance,
            "host": host.name,
            "generation": host.generation,
            "as_of": host.snapshot.as_of if host.sha256 else None,
            "behind": _is_behind(host),
            "retired": host.is_retired,
            "own_salt_days": [each.day.isoformat() for each in host.own_salt_days if _touches(query, each)],
        }
        for host in hosts
    ]
    return sorted(found, key=lambda row: (row["host"], row["instance"]))


def oldest_as_of(hosts: Sequence[Host]) -> str:
    """Until when everything is counted that hosts have published which are not
    retired.
    """
    return min((host.snapshot.as_of for host in hosts if host.sha256 and not host.is_retired), default=EMPTY_TIME)


def _touches(query: Query, own: OwnSaltDay) -> bool:
    """Whether a query is of events that a host may have received on that day."""
    return own.begins - timedelta(hours=LATENESS_H) < query.end and query.reads_from < own.ends


def _is_behind(host: Host) -> bool:
    if host.is_retired:
        return False
    return host.sha256 is None or host.silent_s is None or host.silent_s > BEHIND_AFTER_S
