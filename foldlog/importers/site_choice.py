"""Which site a request counts for, where its log knows the host: `--site`, the hosts of
FOLDLOG_SITES, or the host itself. `www.` and a port are no difference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Literal

from foldlog.importers.formats import LineFormat
from shared.host_names import SITE, listed_site, lower_host, other_spelling
from shared.settings import SettingsError

OtherHosts = Literal["skip", "keep", "count"]
OTHER_HOSTS: tuple[OtherHosts, ...] = ("skip", "keep", "count")
_NO_HOSTS = ("", "-", "_")
_PORT = re.compile(r":[0-9]+$")


@dataclass(frozen=True)
class SiteChoice:
    """`named` is that of --site; `sites` those of FOLDLOG_SITES. Lines of other hosts
    are skipped, kept as sites of their own, or counted for the first of these.
    """

    named: str | None
    sites: tuple[str, ...]
    other_hosts: OtherHosts = "skip"

    @property
    def first(self) -> str | None:
        return self.named or next(iter(self.sites), None)

    def check(self, format_: LineFormat) -> None:
        """Raises SettingsError where a line of this format would have no site."""
        if self.first is None and not format_.knows_hosts:
            raise SettingsError(f"a log in the format {format_.name} does not contain its site: add --site example.com")

    def of(self, host: str) -> str | None:
        """The site of a host, None for another host: what `sql` says of one value."""
        if host in _NO_HOSTS:
            return self.first
        bare = _PORT.sub("", lower_host(host.strip())).rstrip(".")
        own = [self.named] if self.named else list(self.sites)
        if site := listed_site(bare, own):
            return site
        if not own or self.other_hosts == "keep":
            return bare if SITE.fullmatch(bare) else None
        return self.first if self.other_hosts == "count" else None

    def sql(self, format_: LineFormat) -> tuple[str, str]:
        """SQL of the site, NULL for another host, and of the host as it is logged."""
        first = f"'{self.first}'" if self.first else "NULL"
        if not format_.knows_hosts:
            return first, "''"
        lower = f"translate(trim(host), '{ascii_uppercase}', '{ascii_lowercase}')"  # not İ, which would become i
        bare = f"rtrim(regexp_replace({lower}, ':[0-9]+$', ''), '.')"
        valid = rf"regexp_full_match({bare}, '[a-z0-9_](?:[a-z0-9._-]{{0,251}}[a-z0-9_])?|\[[0-9a-f:.]{{2,45}}\]')"
        host = f"CASE WHEN {valid} THEN {bare} END"
        other = {"skip": "NULL", "keep": host, "count": first}[self.other_hosts]
        own = [self.named] if self.named else list(self.sites)
        spellings = [(spelled(site), site) for spelled in (str, other_spelling) for site in own]
        cases = [f"WHEN {bare} = '{spelling}' THEN '{site}'" for spelling, site in spellings]
        rest = other if own else host
        return f"CASE WHEN host IN ('', '-', '_') THEN {first} {' '.join(cases)} ELSE {rest} END", "host"
