"""The columns of an event in a ClickHouse store: those of an archive part, what makes
an event the same over hosts, and which of its copies counts.
"""

from __future__ import annotations

from shared.event_ids import server_id_sql
from shared.schema import STORED_COLUMNS

# Of a row's precedence the last digits are the instance's: copies of one millisecond
# have an order, which is the same on all shards.
LATEST_MS = 1 << 42
INSTANCES = 1 << 10
_OWN = {
    "h": "h",
    "g": "g",
    "site": "site",
    "sender": "coalesce(sender, '')",
    "id": "client_id",
    "precedence": f"(greatest({LATEST_MS} - epoch_ms(received), 0) * {INSTANCES} + $place)::UBIGINT",
    "instance": "$instance",
    "day": "$day::DATE",
    "generation": "$generation::UBIGINT",
}
_REPLACED = {"client_id", "random_id", "received", "time", "site", "sender"}
_ID = f"coalesce(client_id, {server_id_sql('received', 'random_id')})"
# json_array marks where each text ends. The key is secret: a client chooses neither the
# shard nor the place of its event.
_DIGITS = f"sha256($key || json_array(site, coalesce(sender, ''), {_ID})::VARCHAR)"
# Whose bytes a check compares.
TEXT_COLUMNS = tuple(name for name, kind in STORED_COLUMNS.items() if kind == "VARCHAR" and name != "client_id")
_POINTER = "'/' || replace(replace(name, '~', '~0'), '/', '~1')"


def place_of_instance(instance: str) -> int:
    """What an instance adds to the precedence of its rows."""
    return int(instance[:8], 16) % INSTANCES


def hashed_events_sql(stored: str) -> str:
    """Rows of archive parts with a hash of 128 bits, `h` and `g`, of the parameter
    `$key`. `stored`: a relation with STORED_COLUMNS.
    """
    halves = "('0x' || left(digits, 16))::UBIGINT AS h, ('0x' || substr(digits, 17, 16))::UBIGINT AS g"
    return f"(SELECT * EXCLUDE digits, {halves} FROM (SELECT *, {_DIGITS} AS digits FROM {stored}))"


def event_columns(*, escaped: bool) -> dict[str, str]:
    """SQL of each column, over `hashed_events_sql`, of the parameters `$instance`,
    `$place`, `$day` and `$generation`; the last is a number. `escaped`: texts as
    TabSeparated has them.
    """
    columns = dict(_OWN) | {"time_ms": "epoch_ms(time)"}
    columns |= {name: name for name in STORED_COLUMNS if name not in _REPLACED}
    types = STORED_COLUMNS | {"sender": "VARCHAR", "id": "VARCHAR"}
    is_text = {name: escaped and types.get(name) == "VARCHAR" for name in columns}
    found = {name: _escaped(sql) if is_text[name] else sql for name, sql in columns.items()}
    found |= {name: f"{name}::UTINYINT" for name in ("daily", "bot")}
    names = f"list_filter(json_keys(props), lambda name: json_extract_string(props, {_POINTER}) IS NOT NULL)"
    found["prop_keys"] = _array(names, escaped=escaped)
    values = f"list_transform({names}, lambda name: json_extract_string(props, {_POINTER}))"
    found["prop_values"] = _array(values, escaped=escaped)
    found["bot"] = found.pop("bot")
    return found


def _escaped(text: str) -> str:
    return f"replace(replace(replace({text}, '\\', '\\\\'), chr(9), '\\t'), chr(10), '\\n')"


def _array(texts: str, *, escaped: bool) -> str:
    """Texts, in TabSeparated in quotes. None for no properties is an empty array."""
    if not escaped:
        return f"coalesce({texts}, [])"
    quoted = f"'''' || replace({_escaped('text')}, '''', '\\''') || ''''"
    joined = f"list_aggregate(list_transform({texts}, lambda text: {quoted}), 'string_agg', ',')"
    return f"'[' || coalesce({joined}, '') || ']'"
