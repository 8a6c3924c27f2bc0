"""Memory in which all workers of one `serve` count clients together: its layout.

The supervisor makes it and hands its descriptor to the workers, which count in it
(ingest/collect/rate_limit.py). It is not a file, because it tells which networks were
here.
"""

from __future__ import annotations

import os
import secrets
import struct

KEY_BYTES = 16
WAYS = 8
TAGS = struct.Struct(f"<{WAYS}Q")  # the clients of a set, as keyed hashes; 0 is an empty place
TAG = struct.Struct("<Q")
COUNTS = struct.Struct("<QII")  # of one of them: number of the window, requests in it, requests in the one before
SET_BYTES = TAGS.size + WAYS * COUNTS.size
SETS = 8192
SECRETS_SIZE = 64
TABLE_BYTES = SECRETS_SIZE + SETS * SET_BYTES


def make_table() -> int:
    """Memory for the counts of all workers of one `serve`, as a descriptor for the
    children. Gone with the last of them.
    """
    descriptor = os.memfd_create("foldlog-rate-limit", 0)
    os.truncate(descriptor, TABLE_BYTES)
    os.pwrite(descriptor, secrets.token_bytes(KEY_BYTES), 0)
    return descriptor
