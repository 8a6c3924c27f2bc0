"""Which months a cluster may forget: rows of all hosts decide."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from shared.generations.snapshot import Day, Snapshot, encode_snapshot
from shared.stores.clickhouse.expired_months import expired_months, oldest_archived, without_months
from shared.stores.clickhouse.ledger_rows import HeldRow

OCTOBER = [date(2026, 10, 30), date(2026, 10, 31)]
KEPT, GONE = Day("2026-10-31T12:00:00Z"), Day("2026-10-31T12:00:00Z", expired=True)
OLDEST = date(2026, 10, 1)


def row(days: dict[date, Day], *, retired: bool = False, sha256: str = "x", dropped: tuple[date, ...] = ()) -> HeldRow:
    snapshot = Snapshot(days=days, dropped_days=dict.fromkeys(dropped, 1))
    content = encode_snapshot(snapshot).decode()
    return HeldRow("i", 1, "host", "UTC", 1, sha256, "", content, retired, datetime(2026, 11, 1, tzinfo=UTC))


ALL_GONE = row(dict.fromkeys(OCTOBER, GONE))
CASES: dict[str, tuple[list[HeldRow], bool]] = {
    "expired": ([ALL_GONE], True),
    "dropped": ([row({}, dropped=(OCTOBER[0],))], True),
    "absent elsewhere": ([ALL_GONE, row({})], True),
    "one day left": ([row({OCTOBER[0]: GONE, OCTOBER[1]: KEPT})], False),
    "left on another host": ([ALL_GONE, row({OCTOBER[0]: KEPT})], False),
    "absent everywhere": ([row({}), row({date(2026, 9, 1): GONE})], False),
    "published in part": ([ALL_GONE, row({}, sha256="")], False),
    "retired, not old": ([ALL_GONE, row({OCTOBER[0]: KEPT}, retired=True)], False),
    "retired alone": ([row({OCTOBER[0]: KEPT}, retired=True)], False),
    "nobody": ([], False),
}


@pytest.mark.parametrize("name", CASES)
def test_month_goes_where_it_has_expired_on_every_host(name: str) -> None:
    rows, goes = CASES[name]
    assert expired_months(["202610", "202611"], rows, OLDEST) == (["202610"] if goes else [])


def test_what_is_retired_goes_by_its_age_and_that_of_its_last_fold() -> None:
    retired = row({OCTOBER[0]: KEPT}, retired=True)
    assert expired_months(["202610"], [row({}), retired], date(2026, 10, 31)) == []
    assert expired_months(["202610"], [row({}), retired], date(2026, 11, 1)) == ["202610"]
    left = without_months(retired, ["202610"])
    assert left and left.days[OCTOBER[0]].expired
    assert without_months(retired, ["202609"]) is None


def test_age_is_by_the_slower_clock() -> None:
    assert oldest_archived(date(2036, 1, 1), date(2026, 11, 10), 9) == date(2026, 11, 1)
