"""Which user agents are no person's: crawlers, monitors, and the tools and libraries of
programs.

Three things show one: a list of crawlers that others keep, what no browser would say
of itself (an address to write to, a trade such as `scanner`), and a missing system,
which every browser names. `okhttp`, `Dart` and `node` are bots for that
reason: the apps of people that send them say no more than a server does. An app that
names its phone (`Dalvik`, `CFNetwork`) is a person's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import msgspec

from compactor.fold.alternatives import Alternatives
from compactor.fold.device_class import LOOKED_AT_CHARS, MODEL_AND_BUILD

# Browsers of people whose names hold that of a crawler.
_PEOPLES_BROWSERS = re.compile(
    r"SogouMSE|SogouMobileBrowser|SogouSearch|SGInfo[^ ]{0,60}|MetaSr [\d.]+|Caboto|CUBOT[^;)]{0,40}"
    r"|(?<=\d )Viber/[\d.]+$"
)
# Feed readers and players that people run, and that name their own page.
_PEOPLES_READERS = Alternatives(
    r"Reader;|^(?:Feed(?:Demon|Station)|Liferea|RssBandit|newsb(?:euter|oat)|NetNewsWire|XBMC|Kodi|Juice|Doughnut|Akregator)/"
    r"|Podcast Client|bsalsa\.com|^ThePodcastApp/|^(?:Pulp|CoolerFM)/"
)
_CONTACT = Alternatives(
    r"https?://|www\.|mailto:|contact[:;=]|\bref:|\{\{|jndi:|<\?",
    *(rf"[\w.-]{at}[\w-]{{1,64}}\.[a-z]{{2}}" for at in ("@", r"\[at\]", " at ")),
)
# What a program does for its living.
_TRADES_TEXT = """
crawl spider scanner scraper monitor checker fetcher validator prerender preview audit analyzer analyser research
survey headless synthetic grabber harvest extractor lookup observatory diagnostic thumbnail transcoder inspector
fingerprint detector proxy/ feed+parser feedparser google- -google googlead googlesites googleprober google_partner
powershell google+page+speed google+search+console whatcms builtwith functionize cybaaagent convertify assetnote
"""
_TRADES = tuple(trade.replace("+", " ") for trade in _TRADES_TEXT.split())
_TOOL = Alternatives(
    r"^(?:postmanruntime|curl|wget|python|java/|go-http|node|deno|bun/|dart|okhttp|axios|undici|ruby|php|git/)"
    r"|bot\b|\bscan(?:s|ning)?\b|\bcheck\b|prober?\b|recon\b|mail\.[\w.]{1,40} proxy|\btime/\d{10}|daumoa|iplabel"
)
_BARE = re.compile(r"Mozilla/[\d.]+ \((?:compatible|Windows|Macintosh|Linux)?\)?$", re.IGNORECASE)
# They name a device that has no class: consoles, watches, cars, speakers, players.
_OTHER_DEVICE = Alternatives(
    r"PlayStation|PS[345]|Nintendo|Xbox|watchOS|Watch\d|CFNetwork/|Darwin/|iOS|ipadOS|UPnP|Android|Linux;|Tesla/|QtCarBrowser"
    r"|ExoPlayer|\(Linux|Linux arm|Echo|Alexa|Sonos|tpapi|Xiino|Opera|Mozilla/4\.0 \(|[a-z][a-z][/ ][a-z]?\d{3,4}$",
    ignores_case=True,
)


class _Crawler(msgspec.Struct):
    """An entry of the list: what gives a crawler away, and agents of it."""

    pattern: str
    instances: list[str]


_DECODER = msgspec.json.Decoder(list[_Crawler])


def is_tool(ua: str, device: str | None) -> bool:
    """Whether a program sent this, not a person; `device` is its class."""
    looked_at = _PEOPLES_BROWSERS.sub("", ua[:LOOKED_AT_CHARS])
    without_model = MODEL_AND_BUILD.sub("Android", looked_at)
    if _patterns().search(without_model) or ua in _listed():
        return True
    said = without_model.lower()
    if any(trade in said for trade in _TRADES) or _TOOL.search(said):
        return True
    if _CONTACT.search(said) and not _PEOPLES_READERS.search(ua):
        return True
    return device is None and bool(ua) and (_BARE.match(ua) is not None or not _OTHER_DEVICE.search(looked_at))


@cache
def _crawlers() -> list[_Crawler]:
    """The list of the package crawler-user-agents, read as UTF-8: the package itself
    reads it in the encoding of the locale, in which it may not be readable.
    """
    package = find_spec("crawleruseragents")
    folders: Sequence[str] = (package and package.submodule_search_locations) or ()
    content = Path(folders[0]).joinpath("crawler-user-agents.json").read_bytes()
    return _DECODER.decode(content)


@cache
def _patterns() -> Alternatives:
    return Alternatives(*(crawler.pattern for crawler in _crawlers()))


@cache
def _listed() -> frozenset[str]:
    """The agents that the list shows: they are crawlers even where what gave them away
    is the name of a model, which people have, too.
    """
    return frozenset(ua for crawler in _crawlers() for ua in crawler.instances)
