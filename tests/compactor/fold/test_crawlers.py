"""Who is no person: tools, libraries, crawlers; and people whose agents hold the name
of one.
"""

# ruff: noqa: E501 (an agent is longer than a line)
from __future__ import annotations

import pytest

from compactor.fold.user_agents import parse_user_agent

_KIT = "AppleWebKit/537.36 (KHTML, like Gecko)"

TOOLS = [
    "PostmanRuntime/7.0", "node", "Deno/1", "Dart/3 (dart:io)", "Bun/1.1.0", "undici", "axios/1.7.2", "okhttp/4.12.0",
    "curl/8.5.0", "Wget/1.21.3", "python-requests/2.32", "Python/3.11 aiohttp/3.14", "python-httpx/0.27", "Go-http-client/2.0",
    "Java/17.0.2", "Apache-HttpClient/4.5.13 (Java/17)", "Ruby", "PHP/8.2", "libwww-perl/6.67", "reqwest/0.12", "Guzzle/7",
    "insomnia/2023.5.8", "HTTPie/3.2", "k6/0.49 (https://k6.io/)", "ELB-HealthChecker/2.0", "UptimeThing/1.0",
    "Mozilla/5.0 (Windows NT; Windows NT 10.0; de-DE) WindowsPowerShell/5.1.22621.2506",
    "some-scanner/1.0", "Mozilla/5.0", "Mozilla/5.0 (compatible)", "parser", "{{.agent}}",
    "Mozilla/5.0 (compatible; OurLinkChecker/2; +https://example.net/why)",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_KIT} Chrome/99.0.4844.51 Safari/537.36 (https://example.net/study)",
    f"Mozilla/5.0 (X11; Linux x86_64) {_KIT} HeadlessChrome/120.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) {_KIT} Chrome/99.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7; research@example.org) Firefox/120.0",
]  # fmt: skip

PEOPLE = [
    "Mozilla/5.0 (Linux; U; Android 5.1; zh-cn; X Build/LMY47D) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30 SogouMSE,SogouMobileBrowser/4.1.0",
    f"Mozilla/5.0 (Windows NT 10.0; WOW64) {_KIT} Chrome/84.0 Safari/537.36 SE 2.X MetaSr 1.0",
    f"Mozilla/5.0 (Linux; Android 15; CPH0000 Build/AP3A.240617.008; wv) {_KIT} Version/4.0 Chrome/141.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 4.2.2; HTC Butterfly Build/JDQ39) {_KIT} Chrome/31.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 8.0.0; Expanse) {_KIT} Chrome/86.0.4240.99 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 9; CUBOT X30) {_KIT} Chrome/120.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 16; SM-F966N; BP2A; wv) {_KIT} Version/4.0 Chrome/145.0 Mobile Safari/537.36 Viber/27.4.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Dalvik/2.1.0 (Linux; U; Android 13; Pixel 7 Build/TQ3A)", "OurApp/3.2 CFNetwork/1490 Darwin/23.0.0",
    "OurApp/1.0 (iPhone; iOS 17.1; Scale/3.00)", "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15",
    "Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/609.4 NF/6.0 NintendoBrowser/5.1",
    "NetNewsWire/6.1 (Mac OS X; http://netnewswireapp.com/mac/; gzip-happy)",
    "Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16", "",
]  # fmt: skip


@pytest.mark.parametrize("ua", TOOLS)
def test_tools_are_bots(ua: str) -> None:
    assert parse_user_agent(ua).bot


@pytest.mark.parametrize("ua", PEOPLE)
def test_people_are_people(ua: str) -> None:
    assert not parse_user_agent(ua).bot
