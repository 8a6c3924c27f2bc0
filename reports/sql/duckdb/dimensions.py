"""Dimensions in DuckDB's SQL, over events with ARCHIVE_COLUMNS: those of the counters
are columns, others are computed (reports/dimensions.py).

Regular expressions are RE2's, whose time is linear in the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reports import dimensions as rules
from reports.dimensions import PROPS, QUERY
from reports.sql.statement import Parameters
from shared.schema import column_sql
from shared.sql.urls import form_value_sql, hostname_sql, parameter_sql, query_parameter
from shared.sql.visits import COLUMNS_OF_VISITS

# What a visit is called in SQL, and an event is not.
VISIT = "visit"


def dimension_sql(name: str, key: str, bound: Parameters, table: str = "a") -> str:
    """A dimension, a property or a parameter of the URL, which is bound as `key`, of an
    event `table`, or of a visit where that is VISIT.
    """
    if name.startswith(PROPS):
        pointer = "/" + name.removeprefix(PROPS).replace("~", "~0").replace("/", "~1")
        return f"json_extract_string({table}.props, {bound.value(key, pointer)})"
    if name.startswith(QUERY):
        found = bound.value(key, query_parameter(name.removeprefix(QUERY)))
        return form_value_sql(f"regexp_extract({table}.url, {found}, 1)")
    if table == VISIT and name in COLUMNS_OF_VISITS:
        return f"{table}.{name}"
    if name in _COMPUTED:
        return f"({_COMPUTED[name](table)})"
    return column_sql(name, table)


def quoted(text: str) -> str:
    """A text of the program's own."""
    return "'" + text.replace("'", "''") + "'"


def _channel(table: str) -> str:
    source, medium = column_sql("source", table), f"{table}.utm_medium"
    is_search = f"coalesce(regexp_matches({source}, {quoted(rules.of_hosts(rules.SEARCH_ENGINES))}), false)"
    hosts = "|".join(host.replace(".", r"\.") for host in rules.SOCIAL_HOSTS)
    is_social = (
        f"coalesce(regexp_matches({source}, {quoted(rules.of_hosts(rules.SOCIAL_NETWORKS))}) "
        f"OR regexp_matches({source}, {quoted(f'(?i)^(?:www[.])?(?:{hosts})$')}), false)"
    )
    paid = f"CASE WHEN {is_search} THEN 'Paid Search' WHEN {is_social} THEN 'Paid Social' ELSE 'Paid Other' END"
    media = "".join(
        f"WHEN regexp_matches({medium}, {quoted(regex)}) THEN {quoted(name)} "
        for regex, name in rules.CHANNEL_OF_MEDIUM
    )
    return (
        f"CASE WHEN {source} IS NULL AND {medium} IS NULL THEN NULL "
        f"WHEN regexp_matches({medium}, {quoted(rules.PAID_MEDIA)}) THEN {paid} {media}"
        f"WHEN {is_social} THEN 'Organic Social' WHEN {is_search} THEN 'Organic Search' "
        f"WHEN {source} IS NOT NULL THEN 'Referral' ELSE 'Other' END"
    )


def _version(column: str, table_of: Sequence[tuple[tuple[str, ...], str]]) -> Callable[[str], str]:
    def sql(table: str) -> str:
        cases = "".join(
            f"WHEN {' OR '.join(f'{table}.{column} = {quoted(name)}' for name in names)} "
            f"THEN nullif(replace(regexp_extract({table}.ua, {quoted(regex)}, 1), '_', '.'), '') "
            for names, regex in table_of
        )
        return f"{table}.{column} || ' ' || CASE {cases}END"

    return sql


def _not_found(table: str) -> str:
    events = ", ".join(map(quoted, rules.NOT_FOUND_EVENTS))
    status = ", ".join(map(quoted, rules.NOT_FOUND_STATUS))
    is_status = f"coalesce(json_extract_string({table}.props, '/status') IN ({status}), false)"
    return f"CASE WHEN {table}.event IN ({events}) OR {is_status} THEN {table}.path END"


_COMPUTED: dict[str, Callable[[str], str]] = {
    "hostname": lambda table: hostname_sql(f"{table}.url"),
    "utm_term": lambda table: parameter_sql(f"{table}.url", "utm_term"),
    "utm_content": lambda table: parameter_sql(f"{table}.url", "utm_content"),
    "channel": _channel,
    "browser_version": _version("browser", rules.VERSION_OF_BROWSER),
    "os_version": _version("os", rules.VERSION_OF_OS),
    "not_found": _not_found,
}
