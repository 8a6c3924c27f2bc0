"""A file with the archived events that match a question: what several statements about
them read instead of the archive.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from reports.plan import ArchiveScan
from reports.sql.duckdb.dimensions import dimension_sql
from reports.sql.duckdb.relations import all_hold, files_by_version, selected_events
from reports.sql.statement import Parameters, Statement
from shared.schema import ARCHIVE_COLUMNS, FIELDS, STORED_COLUMNS
from shared.sql.archive_events import empty_relation_sql, from_archive_sql, stored_events_sql
from shared.sql.memory import ROW_GROUP_BYTES
from shared.sql.texts import DICTIONARY_MAX

_COLUMN = re.compile(r"\ba\.(\w+)")


def matching_copy(scan: ArchiveScan, names: Iterable[str], columns: Collection[str], path: str) -> Statement:
    """Writes the events that match a scan to a file that is as an archive part, but has
    only `columns` and those that its selection and the dimensions `names` need. `path`
    is the program's own.
    """
    bound = Parameters()
    conditions, selected = all_hold(scan.selection.conditions, bound), selected_events(scan.selection, bound)
    # Of the parameters of dimensions only the text is of interest here.
    texts = [conditions, selected, *(dimension_sql(name, "by", Parameters()) for name in names)]
    needed = _stored_columns({*columns, *(found for text in texts for found in _COLUMN.findall(text))})
    if scan.selection.is_whole_days and "time" not in columns:
        needed -= {"time"}  # nor do the statements read it (reports/sql/duckdb/relations.py)
    written = (f"a.{name}" for name in STORED_COLUMNS if name in needed)
    split = [name for name in STORED_COLUMNS if name not in ARCHIVE_COLUMNS]
    source = from_archive_sql(stored_events_sql(files_by_version(scan.parts, bound, "archive")), *split)
    rows = f"SELECT {', '.join(written)} FROM {source} a WHERE {selected} AND {conditions}"
    options = f"FORMAT parquet, COMPRESSION snappy, DICTIONARY_SIZE_LIMIT {DICTIONARY_MAX}, "
    options += f"ROW_GROUP_SIZE_BYTES {ROW_GROUP_BYTES}"
    return Statement(f"COPY ({rows}) TO '{path}' ({options})", bound)


def all_columns(path: str) -> Statement:
    """Writes the file without events that stands before those (SOME_COLUMNS)."""
    options = f"FORMAT parquet, DICTIONARY_SIZE_LIMIT {DICTIONARY_MAX}"
    return Statement(f"COPY (FROM {empty_relation_sql(STORED_COLUMNS)}) TO '{path}' ({options})", Parameters())


def _stored_columns(used: Iterable[str]) -> frozenset[str]:
    """The columns of a part from which these of an event are restored."""
    whole = {"url": ("path",), "referrer_url": ("referrer",)}
    found = set(used)
    for field in FIELDS:
        if field.name in found and field.stored:
            found |= {*field.stored, *whole.get(field.name, ())}
    return frozenset(found)
