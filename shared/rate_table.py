"""The layout of the memory in which all workers of one `serve` count what each client
sent.

The supervisor creates it and passes its descriptor to the workers, which use it in
ingest/collect/rate_table.py. It is never a file, because it identifies the networks of
clients.
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


def make_table() -> int:
    """A descriptor of new memory for the workers to inherit; freed with the last of
    them.
    """
    descriptor = os.memfd_create("foldlog-rate-limit", 0)
    os.truncate(descriptor, TABLE_BYTES)
    os.pwrite(descriptor, secrets.token_bytes(KEY_BYTES), 0)
    return descriptor
