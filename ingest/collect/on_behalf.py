"""What a server with a key says of the page and the visitor behind it: `site` of a
batch or an event, `client` of an event. Without a key neither is taken: a page cannot
choose its site, and its visitor is who sends.

The address of a `client` is used as that of a page's own request would be, for the
visitor hash and the country, and is not stored (P11).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ingest.collect.admission import Sender
from ingest.collect.event import Event, VisitorBehind
from ingest.collect.own_traffic import OwnTraffic
from ingest.collect.validate import Accepted, Rejection, Validated, of_accepted
from ingest.http.client_address import plain_address
from ingest.http.problem import Problem
from shared.host_names import SITE, host_of, listed_site

Error = tuple[str, str, str]  # code, field, detail
_KEY_NEEDED = "only a server with a key may say it"


class Said(NamedTuple):
    """The site of some events, and the visitor behind them; None: who sends."""

    site: str
    client: VisitorBehind | None


def check(
    validated: Validated, site: str | None, sender: Sender, sites: tuple[str, ...], own_traffic: OwnTraffic
) -> Validated:
    """The events with the site that they count for; others are rejected. `site` is that
    of the batch, `sites` are FOLDLOG_SITES.
    """
    if site is None and not any([event.site or event.client for event, _ in validated.accepted]):
        return validated
    accepted: list[Accepted] = []
    rejected = list(validated.rejected)
    indexes = _indexes(validated)
    for index, (event, time_ms) in zip(indexes, validated.accepted, strict=True):
        event.site = event.site or site
        if error := _error(event, sender, sites, own_traffic):
            rejected.append(Rejection(index, *error))
        else:
            accepted.append((event, time_ms))
    rejected.sort(key=lambda each: each.index)
    return Validated(accepted, rejected, of_accepted(validated.adjusted, rejected))


def _indexes(validated: Validated) -> list[int]:
    """Of the accepted events in the batch."""
    lost = {each.index for each in validated.rejected}
    return [index for index in range(len(validated.accepted) + len(lost)) if index not in lost]


def _error(event: Event, sender: Sender, sites: tuple[str, ...], own_traffic: OwnTraffic) -> Error | None:
    """Brings the site and the address into one spelling."""
    if event.site is None and event.client is None:
        return None
    if not sender.keyed:
        return ("key_needed", "site" if event.site else "client", _KEY_NEEDED)
    if event.site is not None:
        event.site = host_of(event.site)
        if SITE.fullmatch(event.site) is None:
            return ("site_invalid", "site", "a site is a host name")
        event.site = listed_site(event.site, sites) if sites else event.site
        if event.site is None:
            return ("site_unknown", "site", "the site is none of FOLDLOG_SITES")
    if event.client is None:
        return None
    address = plain_address(event.client.address)
    if address is None:
        return ("client_invalid", "client", "the address of a client is an IPv4 or IPv6 address")
    event.client.address = address
    try:
        own_traffic.check(address)
    except Problem as problem:
        return (problem.code, "client", problem.detail)
    return None


def by_context(accepted: list[Accepted], site: str) -> Iterator[tuple[Said, list[Accepted]]]:
    """The events by what was said of them, which is taken out of them; `site` is that
    of the request.
    """
    if not any([event.site or event.client for event, _ in accepted]):
        yield Said(site, None), accepted
        return
    groups: dict[Said, list[Accepted]] = {}
    for event, time_ms in accepted:
        said = Said(event.site or site, event.client)
        event.site = event.client = None
        groups.setdefault(said, []).append((event, time_ms))
    yield from groups.items()
