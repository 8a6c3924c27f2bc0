"""The form of an event id that the server makes: 11 hex digits of the time of receipt
in milliseconds, then 20 random ones.

The time in front keeps ids in order. An archive part stores only the random bytes: the
time is in the column `received`.
"""

from __future__ import annotations

import os

RANDOM_BYTES = 10
_TIME_DIGITS = 11
_RANDOM_DIGITS = 2 * RANDOM_BYTES
_LENGTH = _TIME_DIGITS + _RANDOM_DIGITS


def make_event_ids(count: int, received_ms: int) -> list[str]:
    """New ids for events that the client sent without one."""
    digits = os.urandom(RANDOM_BYTES * count).hex()
    time = f"{received_ms:0{_TIME_DIGITS}x}"
    starts = range(0, _RANDOM_DIGITS * count, _RANDOM_DIGITS)
    return [time + digits[start : start + _RANDOM_DIGITS] for start in starts]


def server_id_sql(received: str, random: str) -> str:
    """SQL of the id with this time of receipt (TIMESTAMP) and these random bytes
    (BLOB).
    """
    return f"printf('%0{_TIME_DIGITS}x', epoch_ms({received})) || lower(hex({random}))"


def server_id_random_sql(table: str) -> str:
    """SQL of the random bytes of `table`.id (BLOB); NULL if the server did not make
    it.
    """
    return f"CASE WHEN {is_server_id_sql(table)} THEN unhex(substr({table}.id, {_TIME_DIGITS + 1})) END"


def server_id_time_sql(table: str) -> str:
    """SQL of the time of receipt in `table`.id (TIMESTAMP); NULL if the server did not
    make it.
    """
    digits = f"substr({table}.id, 1, {_TIME_DIGITS})"
    return f"CASE WHEN {is_server_id_sql(table)} THEN make_timestamp_ms(('0x' || {digits})::BIGINT) END"


def is_server_id_sql(table: str) -> str:
    """SQL of whether `table`.id has the form of an id that the server makes."""
    # CASE, because AND would translate every id.
    is_hex = f"translate({table}.id, '0123456789abcdef', '') = ''"
    return f"(CASE WHEN strlen({table}.id) = {_LENGTH} THEN {is_hex} ELSE false END)"
