"""The layout of the memory in which all workers of one `serve` count requests per
client.

The supervisor creates it and passes its descriptor to the workers, which use it in
ingest/collect/rate_limit.py. It is never a file, because it identifies the networks of
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
COUNTS = struct.Struct("<QII")  # of one client: number of the window, requests in it, requests in the previous one
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
