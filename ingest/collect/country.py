"""The visitor's country: two letters from a trusted proxy's header, else from the
operator's MaxMind file, else absent; region and city where that file has them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from shared.log import Log
from shared.settings import Settings

if TYPE_CHECKING:
    from ingest.collect.country_file import CountryFile


class Place(NamedTuple):
    """Where a visitor is, as far as it is known. `region`: the code of ISO 3166-2
    without that of the country; `city`: its English name.
    """

    country: str | None = None
    region: str | None = None
    city: str | None = None


NOWHERE = Place()


class CountryLookup:
    """Raises SettingsError when FOLDLOG_COUNTRY_FILE cannot be used."""

    def __init__(self, settings: Settings, log: Log, clock: Callable[[], float] = time.monotonic) -> None:
        self._file: CountryFile | None = None
        if settings.country_file is not None:
            # Without a file, a worker does without maxminddb.
            from ingest.collect.country_file import CountryFile

            self._file = CountryFile(settings.country_file, log, clock)

    def of(self, address: str, header: str | None) -> str | None:
        """Two upper-case letters, or None. `header` is that of a trusted proxy."""
        return self.place(address, header).country

    def place(self, address: str, header: str | None) -> Place:
        """Region and city of the file only where it says the country of the header."""
        country = country_code(header) if header is not None else None
        found = self._file.place(address) if self._file is not None else NOWHERE
        return found if country in (None, found.country) else Place(country)


def country_code(text: object) -> str | None:
    """The code in upper case; None for anything that is not a country."""
    if not isinstance(text, str) or len(text) != 2 or not (text.isascii() and text.isalpha()):
        return None  # such as Cloudflare's T1 (Tor)
    code = text.upper()
    return None if code in {"XX", "ZZ"} else code  # unknown: Cloudflare's, Unicode's
