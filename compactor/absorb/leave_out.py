"""Visitors who are erased on the hosts of a store, and whom a retired instance still
has: they are taken out of its events before these become those of this directory, so
that no file here and no answer ever has them again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec.structs import replace

from compactor.absorb.theirs import Theirs
from compactor.context import PassContext
from compactor.erasure.footprint import search
from compactor.erasure.orders_table import open_orders
from compactor.erasure.rewrite import remove_from_archive
from compactor.erasure.visitor_filter import VisitorFilter
from shared.disk.layout import DataDirectory
from shared.erasures import ErasureRequest, known_orders

if TYPE_CHECKING:
    from psycopg import Connection


def orders_for(data: DataDirectory, connection: Connection, instance: UUID) -> list[ErasureRequest]:
    """Orders that were not carried out in what an instance has published: those of the
    store, and those of this directory that the store may not have yet. Any other one
    this directory has not carried out, and will once the events are its own. The caller
    holds the compactor's lock.
    """
    here = known_orders(data)
    return [*here, *(order for order in open_orders(connection, instance) if order not in here)]


def without_visitors(context: PassContext, theirs: Theirs, orders: Iterable[ErasureRequest]) -> Theirs:
    """The generation without these visitors; their events count as erased. Raises
    PartDamaged.
    """
    staged, found = dataclasses.replace(context, data=theirs.data), theirs.snapshot
    for order in orders:
        visitor = VisitorFilter(order.visitor, order.site)
        footprint = search(context.database, theirs.data, found, visitor)
        found = remove_from_archive(staged, found, footprint, visitor)
    published = theirs.snapshot
    return theirs._replace(snapshot=replace(found, generation=published.generation, as_of=published.as_of))
