"""The country of a visitor: from the header, else the file, else absent. A bad file
costs no event, and no address is stored (P11).
"""

from __future__ import annotations

import os
import random
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from ingest.collect.country import CountryLookup, Place
from shared.settings import Settings, SettingsError
from tests.builders.silent_log import SilentLog
from tests.builders.wire import CONSENT, batch, event, page
from tests.builders.worker import Worker

GERMAN, FRENCH, NOWHERE = "203.0.113.77", "198.51.100.7", "192.0.2.1"
JUST_BEFORE_S, LOOK_S = 59.5, 60.0


def country(code: str) -> dict[str, object]:
    return {"country": {"iso_code": code, "names": {"en": code.title()}}, "registered_country": {"iso_code": "US"}}


RECORDS: dict[str, dict[str, object]] = {
    "203.0.113.0/24": country("DE"),
    "198.51.100.0/24": country("FR"),
    "2001:db8::/32": country("JP"),
}


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, records: Mapping[str, dict[str, object]], ip_version: int = 6) -> Path:
    """Make a MaxMind file and put it at `path` by renaming, as updaters do."""
    writer = MMDBWriter(ip_version, "Test-Country", ipv4_compatible=ip_version == 6)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    beside = path.with_suffix(".new")
    writer.to_db_file(str(beside))
    return beside.rename(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "country.mmdb", RECORDS)


@pytest.fixture
def log() -> SilentLog:
    return SilentLog()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lookup(path: Path, log: SilentLog, clock: Clock) -> CountryLookup:
    return CountryLookup(Settings(country_file=path), log, clock)


# The header of a trusted proxy, and the country where there is no file.
HEADERS = {
    "no header": (None, None),
    "a country": ("DE", "DE"),
    "lower case": ("de", "DE"),
    "both cases": ("dE", "DE"),
    "Cloudflare's unknown": ("XX", None),
    "Cloudflare's unknown in lower case": ("xx", None),
    "Cloudflare's Tor": ("T1", None),
    "empty": ("", None),
    "one letter": ("D", None),
    "three letters": ("DEU", None),
    "a name": ("Germany", None),
    "digits": ("49", None),
    "letters that are not ASCII": ("ÄÖ", None),
    "a letter that grows in upper case": ("ß", None),
    "bytes that are not UTF-8": ("\udcff\udcfe", None),
    "two values": ("DE, FR", None),
    "a line break": ("D\n", None),
}


@pytest.mark.parametrize(("header", "expected"), HEADERS.values(), ids=HEADERS)
def test_header_counts_if_it_is_two_letters_of_a_country(
    log: SilentLog, header: str | None, expected: str | None
) -> None:
    assert CountryLookup(Settings(), log).of(GERMAN, header) == expected


@pytest.mark.parametrize(("header", "expected"), HEADERS.values(), ids=HEADERS)
def test_file_is_used_where_the_header_has_no_country(
    lookup: CountryLookup, header: str | None, expected: str | None
) -> None:
    assert lookup.of(FRENCH, header) == (expected or "FR")


CITY: dict[str, object] = {
    "country": {"iso_code": "DE"},
    "subdivisions": [{"iso_code": "BB", "names": {"en": "Brandenburg"}}, {"iso_code": "P"}],
    "city": {"names": {"de": "Potsdam", "en": "Potsdam"}},
}
# A record; where an address in it is.
PLACES: dict[str, tuple[dict[str, object], Place]] = {
    "a city": (CITY, Place("DE", "BB", "Potsdam")),
    "a country alone": (country("DE"), Place("DE")),
    "a region alone": ({**CITY, "city": {}}, Place("DE", "BB")),
    "a city without an English name": ({**CITY, "city": {"names": {"de": "Potsdam"}}}, Place("DE", "BB")),
    "no regions": ({**CITY, "subdivisions": []}, Place("DE", None, "Potsdam")),
    "a country of registration": ({**CITY, "country": {}, "registered_country": {"iso_code": "FR"}}, Place("FR")),
    "texts where others are expected": ({**CITY, "subdivisions": "BB", "city": "Potsdam"}, Place("DE")),
    "numbers where texts are expected": (
        {**CITY, "subdivisions": [{"iso_code": 7}], "city": {"names": {"en": 7}}},
        Place("DE"),
    ),
    "a name that is too long": ({**CITY, "city": {"names": {"en": "x" * 5000}}}, Place("DE", "BB", "x" * 100)),
}


@pytest.mark.parametrize(("record", "expected"), PLACES.values(), ids=PLACES)
def test_region_and_city_are_those_of_a_file_that_has_them(
    tmp_path: Path, log: SilentLog, record: dict[str, object], expected: Place
) -> None:
    path = write(tmp_path / "city.mmdb", {"203.0.113.0/24": record})
    lookup = CountryLookup(Settings(country_file=path), log)
    assert lookup.place(GERMAN, None) == expected
    assert lookup.place(GERMAN, "DE") == (expected if expected.country == "DE" else Place("DE"))
    assert lookup.place(GERMAN, "JP") == Place("JP")
    assert lookup.place(NOWHERE, "JP") == Place("JP")


def test_line_has_region_and_city_and_keeps_its_agent(tmp_path: Path) -> None:
    """The names come from the operator's file: they take no room from the client."""
    path = write(tmp_path / "city.mmdb", {"203.0.113.0/24": {**CITY, "city": {"names": {"en": "Ж" * 100}}}})
    events = batch(*[event()] * 200)
    with Worker(tmp_path / "data", trusted_proxies="127.0.0.1", country_file=path) as worker:
        since = worker.position()
        answer = worker.exchange(page(events, CONSENT, f"X-Forwarded-For: {GERMAN}", "User-Agent: Mozilla/5.0 (X11)"))
        assert answer.status == 200
        lines = worker.appended(since)
    assert {(each["country"], each["region"], each["city"]) for each in lines} == {("DE", "BB", "Ж" * 100)}
    assert {each.get("ua") for each in lines} == {"Mozilla/5.0 (X11)"}


ADDRESSES = {
    "IPv4": (GERMAN, "DE"),
    "IPv4 of another network": (FRENCH, "FR"),
    "the last one of a network": ("203.0.113.255", "DE"),
    "IPv6": ("2001:db8::1", "JP"),
    "IPv6 written in full": ("2001:0DB8:0000:0000:0000:0000:0000:0001", "JP"),
    "IPv4 mapped into IPv6": (f"::ffff:{GERMAN}", "DE"),
    "IPv4 mapped into IPv6, in hex": ("::FFFF:cb00:714d", "DE"),
    "IPv4 that is in no network": (NOWHERE, None),
    "IPv6 that is in no network": ("2001:db9::1", None),
    "IPv6 with a zone": ("fe80::1%eth0", None),
    "empty": ("", None),
    "not an address": ("unknown", None),
    "with a port": (f"{GERMAN}:443", None),
    "bytes that are not UTF-8": ("\udcff", None),
}


@pytest.mark.parametrize(("address", "expected"), ADDRESSES.values(), ids=ADDRESSES)
def test_country_of_an_address(lookup: CountryLookup, log: SilentLog, address: str, expected: str | None) -> None:
    assert [lookup.of(address, None), lookup.of(address, None)] == [expected, expected]
    assert log.entries == []


def test_ipv6_address_has_no_country_in_a_file_without_ipv6(tmp_path: Path, log: SilentLog) -> None:
    path = write(tmp_path / "ipv4.mmdb", {"203.0.113.0/24": country("DE")}, ip_version=4)
    lookup = CountryLookup(Settings(country_file=path), log)
    assert [lookup.of(a, None) for a in (GERMAN, f"::ffff:{GERMAN}", "2001:db8::1")] == ["DE", "DE", None]
    assert log.entries == []


# The record of an address in the file, and its country.
KINDS: dict[str, tuple[dict[str, object], str | None]] = {
    "GeoLite2-City": (
        {"city": {"names": {"en": "Bonn"}}, "country": {"iso_code": "DE"}, "location": {"latitude": 50.7}},
        "DE",
    ),
    "both": ({"registered_country": {"iso_code": "US"}, "country": {"iso_code": "DE"}}, "DE"),
    "registered only": ({"registered_country": {"iso_code": "FR"}}, "FR"),
    "a country without its code": ({"country": {"geoname_id": 1}, "registered_country": {"iso_code": "FR"}}, "FR"),
    "a code that names no country": ({"country": {"iso_code": "XX"}}, None),
    "a code in lower case": ({"country": {"iso_code": "de"}}, "DE"),
    "a code that is a number": ({"country": {"iso_code": 49}}, None),
    "a country that is a text": ({"country": "DE"}, None),
    "GeoLite2-ASN": ({"autonomous_system_number": 64496}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize(("record", "expected"), KINDS.values(), ids=KINDS)
def test_country_of_a_record(tmp_path: Path, log: SilentLog, record: dict[str, object], expected: str | None) -> None:
    path = write(tmp_path / "other.mmdb", {"203.0.113.0/24": record})
    assert CountryLookup(Settings(country_file=path), log).of(GERMAN, None) == expected


def test_replaced_file_is_used_after_a_minute_and_not_before(path: Path, lookup: CountryLookup, clock: Clock) -> None:
    assert lookup.of(GERMAN, None) == "DE"
    write(path, {"203.0.113.0/24": country("AT")})
    clock.now += JUST_BEFORE_S
    assert lookup.of(GERMAN, None) == "DE"
    assert lookup.of("203.0.113.78", None) == "DE"
    clock.now += LOOK_S - JUST_BEFORE_S
    assert lookup.of(GERMAN, None) == "AT"


def test_file_is_checked_once_a_minute(path: Path, lookup: CountryLookup, log: SilentLog, clock: Clock) -> None:
    before = "DE"
    for code in ("AT", "CH", "LI"):
        write(path, {"203.0.113.0/24": country(code)})
        clock.now += JUST_BEFORE_S
        assert lookup.of(GERMAN, None) == before
        clock.now += LOOK_S - JUST_BEFORE_S
        assert lookup.of(GERMAN, None) == code
        before = code
    assert log.entries == []


def test_old_file_that_is_put_back_is_used_again(
    path: Path, lookup: CountryLookup, clock: Clock, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.mmdb"
    kept.hardlink_to(path)
    write(path, {"203.0.113.0/24": country("AT")})
    clock.now += LOOK_S
    assert lookup.of(GERMAN, None) == "AT"
    kept.rename(path)
    clock.now += LOOK_S
    assert lookup.of(GERMAN, None) == "DE"


def test_file_that_is_overwritten_in_place_is_used(
    path: Path, lookup: CountryLookup, clock: Clock, tmp_path: Path
) -> None:
    path.write_bytes(write(tmp_path / "other.mmdb", {"203.0.113.0/24": country("AT")}).read_bytes())
    assert lookup.of(GERMAN, None) == "DE"
    clock.now += LOOK_S
    assert lookup.of(GERMAN, None) == "AT"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def cut_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1)


def lose_the_metadata(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"record_size", b"record_sise"))


def become_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


Damage = Callable[[Path], object]
NO_DATABASE = "not a MaxMind database, or damaged"

# What happens to the file, and the reason that is logged.
DAMAGES: dict[str, tuple[Damage, str]] = {
    "cut": (cut, NO_DATABASE),
    "cut in place": (cut_in_place, NO_DATABASE),
    "emptied": (lambda path: path.write_bytes(b""), NO_DATABASE),
    "another kind of file": (lambda path: path.write_text("<!doctype html>"), NO_DATABASE),
    "metadata lost": (lose_the_metadata, NO_DATABASE),
    "deleted": (Path.unlink, "No such file or directory"),
    "now a directory": (become_a_directory, "Is a directory"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_unreadable_file_fails_the_start_with_advice(path: Path, log: SilentLog, damage: Damage, reason: str) -> None:
    damage(path)
    with pytest.raises(SettingsError) as caught:
        CountryLookup(Settings(country_file=path), log)
    assert str(caught.value) == (
        "FOLDLOG_COUNTRY_FILE takes a country database in MaxMind's format, such as GeoLite2-Country.mmdb; "
        f"{path} cannot be used: {reason}. Replace the file, or remove the setting."
    )


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_file_that_becomes_unreadable_is_logged_once_and_the_old_one_used(
    path: Path, lookup: CountryLookup, log: SilentLog, clock: Clock, damage: Damage, reason: str
) -> None:
    assert lookup.of(GERMAN, None) == "DE"
    damage(path)
    for _ in range(3):
        clock.now += LOOK_S
        assert [lookup.of(GERMAN, None), lookup.of(FRENCH, None)] == ["DE", "FR"]
    assert log.entries == [("country_file_unreadable", {"path": str(path), "reason": reason})]


def test_next_bad_file_is_logged_again_and_the_next_good_one_is_used(
    path: Path, lookup: CountryLookup, log: SilentLog, clock: Clock
) -> None:
    for size in (10, 20):
        path.write_bytes(b"x" * size)
        clock.now += LOOK_S
        assert lookup.of(GERMAN, None) == "DE"
    assert log.events() == ["country_file_unreadable"] * 2
    write(path, {"203.0.113.0/24": country("AT")})
    clock.now += LOOK_S
    assert lookup.of(GERMAN, None) == "AT"
    assert len(log.entries) == 2


def test_unreadable_file_is_retried_even_if_its_stamp_is_the_same(
    path: Path, lookup: CountryLookup, log: SilentLog, clock: Clock, tmp_path: Path
) -> None:
    good = write(tmp_path / "other.mmdb", {"203.0.113.0/24": country("AT")}).read_bytes()
    for content, expected in ((good[::-1], "DE"), (good, "AT")):
        path.write_bytes(content)
        os.utime(path, ns=(1, 1))
        clock.now += LOOK_S
        assert lookup.of(GERMAN, None) == expected
    assert log.events() == ["country_file_unreadable"]


def test_damaged_record_is_logged_once_without_the_address(path: Path, log: SilentLog) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x42DE", b"\x42\xff\xfe"))
    assert path.read_bytes() != content
    lookup = CountryLookup(Settings(country_file=path), log)
    assert [lookup.of(a, None) for a in (GERMAN, GERMAN, "203.0.113.78", FRENCH)] == [None, None, None, "FR"]
    assert log.entries == [("country_file_unreadable", {"path": str(path), "reason": "a record is damaged"})]


def test_no_damage_raises_or_logs_an_address(tmp_path: Path, path: Path, log: SilentLog) -> None:
    good, pick = path.read_bytes(), random.Random(7)
    addresses = (GERMAN, FRENCH, NOWHERE, "2001:db8::1")
    opened = 0
    for _ in range(400):
        content = bytearray(good)
        for _ in range(pick.choice((1, 3, 30))):
            content[pick.randrange(len(content))] = pick.randrange(256)
        path.write_bytes(content)
        try:
            lookup = CountryLookup(Settings(country_file=path), log)
        except SettingsError:
            continue
        opened += 1
        found = {lookup.of(address, None) for address in addresses}
        assert all(code is None or (len(code) == 2 and code.isascii() and code.isupper()) for code in found)
    assert 0 < opened < 400
    assert log.entries
    assert not any(address in str(log.entries) for address in addresses)


class Address(str):
    """An address whose deletion can be observed."""

    __slots__ = ("__weakref__",)


def test_address_is_kept_in_memory_for_a_minute_at_most(lookup: CountryLookup, clock: Clock) -> None:
    address = Address(GERMAN)
    alive = weakref.ref(address)
    lookup.of(address, None)
    del address
    assert alive() is not None  # it is remembered, or this test shows nothing
    clock.now += LOOK_S
    lookup.of(FRENCH, None)
    assert alive() is None


def test_number_of_cached_addresses_is_bounded(lookup: CountryLookup) -> None:
    alive: weakref.WeakSet[Address] = weakref.WeakSet()
    for number in range(5000):
        address = Address(f"10.0.{number >> 8}.{number & 255}")
        alive.add(address)
        lookup.of(address, None)
    assert len(alive) <= 4096 + 1  # and the one in hand
