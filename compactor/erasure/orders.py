"""Erasures over the hosts of a store: what is asked of one host is an order to all, and
each confirms it once what it has published is without the visitor.

An order is a file in private/ from the moment that a host knows it until it has
confirmed it, so that neither a crash nor a store that is down loses one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from compactor.erasure.orders_table import add_order, confirm_order, end_orders, open_orders
from compactor.erasure.retired import confirm_for_retired
from shared.disk.control_files import touch
from shared.disk.layout import DataDirectory
from shared.disk.spill import own_spill
from shared.erasures import (
    ErasureRequest,
    add_request,
    delete_order,
    has_order,
    known_orders,
    progress_of,
    write_order,
)

if TYPE_CHECKING:
    from psycopg import Connection


def share_orders(
    data: DataDirectory, connection: Connection, instance: UUID, generation: int, *, has_retired: bool = True
) -> None:
    """Order what was asked here, have the next pass carry out what was asked elsewhere,
    and confirm what is in no published generation any more. `generation`: the published
    one. `has_retired`: whether what retired instances have published is in this
    database alone, so that the order may be confirmed for them, and end.
    """
    for order in known_orders(data):
        add_order(connection, order)
        _, done = progress_of(data, order.request)
        if done and done.generation <= generation:
            confirm_order(connection, order.request, instance)
            if has_retired:
                with own_spill(data) as scratch:
                    confirm_for_retired(connection, order, scratch)
            delete_order(data, order)
    for order in open_orders(connection, instance):
        if not has_order(data, order):
            _carry_out(data, order)
    if has_retired:
        end_orders(connection)


def confirm_at_retirement(connection: Connection, instance: UUID, scratch: Path) -> None:
    """Confirm, for an instance that is retired now, orders about visitors whom it does
    not have: no host may ask for them again.
    """
    for order in open_orders(connection, instance):
        confirm_for_retired(connection, order, scratch)
    end_orders(connection)


def _carry_out(data: DataDirectory, order: ErasureRequest) -> None:
    """The request first: should this process end between the two, the next publish
    adds it again.
    """
    if progress_of(data, order.request) == (None, None):
        add_request(data, order)
    write_order(data, order)
    touch(data.fold_request)
