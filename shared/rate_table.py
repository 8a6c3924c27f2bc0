"""The layout of the memory that all workers of one `serve` share: what each client
sent, guesses of tokens, the slots of questions that are being answered, and what has
just arrived.

The supervisor creates it and passes its descriptor to the workers, which use it in
ingest/collect/rate_table.py, reports/reader/slots.py and ingest/observe/arrivals.py. It
is never a file, because it identifies the networks of clients.
"""

from __future__ import annotations

import os
import secrets
import struct

KEY_BYTES = 16
WAYS = 8
TAGS = struct.Struct(f"<{WAYS}Q")  # the clients of a set as keyed hashes; 0 is an empty slot
TAG = struct.Struct("<Q")
# Of one client: number of the window; requests, events and bytes of log in it; the same
# of the previous one.
COUNTS = struct.Struct("<Q3Q3Q")
SET_BYTES = TAGS.size + WAYS * COUNTS.size
SETS = 8192
SECRETS_SIZE = 64
TABLE_BYTES = SECRETS_SIZE + SETS * SET_BYTES
# Behind the table: for each slot the token whose question holds it, as a hash. A lock
# on its first byte holds the slot.
SLOTS_START = TABLE_BYTES
SLOTS_MAX = 64
OWNER_BYTES = 8
# Behind them: until when an operator watches what arrives (monotonic nanoseconds), the
# number of the next arrival, and a ring of them: number, length, text.
ARRIVALS_START = SLOTS_START + SLOTS_MAX * OWNER_BYTES
ARRIVALS_HEAD = struct.Struct("<QQ")
ARRIVAL_HEAD = struct.Struct("<QI")
ARRIVALS = 256
ARRIVAL_BYTES = 1024
MEMORY_BYTES = ARRIVALS_START + ARRIVALS_HEAD.size + ARRIVALS * ARRIVAL_BYTES


def make_table() -> int:
    """A descriptor of new memory for the workers to inherit; freed with the last of
    them.
    """
    descriptor = os.memfd_create("foldlog-rate-limit", 0)
    os.truncate(descriptor, MEMORY_BYTES)
    os.pwrite(descriptor, secrets.token_bytes(KEY_BYTES), 0)
    return descriptor


def is_table(descriptor: int) -> bool:
    """Whether it is such memory: a `serve` of another version starts the workers of
    this one until it ends.
    """
    return descriptor != -1 and os.fstat(descriptor).st_size == MEMORY_BYTES
