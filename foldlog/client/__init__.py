"""Sending events from Python: `Client`, and `AsyncClient` for asyncio.

    client = Client("https://stats.example.com", key, spool="spool", consent="granted")
    client.track("invoice_paid", id="invoice-2026-0815", visitor="v-81f3", value=119.0)

An event is in a file of the spool when `track` returns; a thread sends it, as often as
it takes, under the id that it got there, so that it counts once. This package needs
nothing but the standard library. docs/senders.md says what it promises.
"""

from foldlog.client.answer import Refusal
from foldlog.client.async_client import AsyncClient
from foldlog.client.client import Client
from foldlog.client.spool import SpoolFull

__all__ = ["AsyncClient", "Client", "Refusal", "SpoolFull"]
