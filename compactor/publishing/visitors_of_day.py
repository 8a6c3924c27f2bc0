"""What the visitors of a UTC day are counted by: the sites that its counters show, and
the numbers that stayed when its archive was deleted.
"""

from __future__ import annotations

from datetime import UTC, date
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from compactor.fold.count_rows import published_sites
from compactor.generations.archive import open_parts
from compactor.generations.counter_parts import stored_counters
from compactor.publishing.calendar_day import calendar_day
from compactor.sql import sql_file
from shared.disk.layout import DataDirectory
from shared.generations.counter_schema import SITE, TOTAL
from shared.generations.snapshot import Day
from shared.sql.texts import TextNumbers
from shared.stores.visitor_rows import VisitorRow

if TYPE_CHECKING:
    import duckdb


def shown_site(data: DataDirectory, day: date, kept: Day, strong: TextNumbers) -> str:
    """SQL of the number of the column `site`; NULL for sites that the counters have
    under `(other)`. Raises PartDamaged.
    """
    site = strong.number("site")
    if SITE not in kept.capped:
        return site
    counters = stored_counters(open_parts(data, "counters", day, kept.counters))
    return f"CASE WHEN {site} IN ({published_sites(counters, strong)}) THEN {site} END"


def expired_rows(database: duckdb.DuckDBPyConnection, data: DataDirectory, day: date, kept: Day) -> list[VisitorRow]:
    """Of a day whose archive is deleted, the numbers that were kept with the counters;
    None for the days and sites of which none was. Raises PartDamaged.
    """
    text = sql_file(
        __file__,
        "expired_visitors.sql",
        counters=stored_counters(open_parts(data, "counters", day, kept.counters)),
        total=TOTAL,
        site=TextNumbers(strong=True).number("site"),
        day=calendar_day(day, kept.zone),
    )
    zone = ZoneInfo(kept.visitor_zone or "UTC")
    found: dict[tuple[date, str], int | None] = {}
    for start, local, site, number in database.execute(text).fetchall():
        counted = local or start.replace(tzinfo=UTC).astimezone(zone).date()
        found[counted, site] = number if found.get((counted, site)) is None else found[counted, site]
    return [VisitorRow(*place, "", number) for place, number in found.items()]
