"""The class of a device: shapes of our own. test_agent_lists.py measures the lists of
others.
"""

# ruff: noqa: E501 (an agent is longer than a line)
from __future__ import annotations

import time

import pytest

from compactor.fold.device_class import device_class, model_of
from compactor.fold.user_agents import parse_user_agent

_WEBVIEW = "AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/126.0.0.0"
_INSTAGRAM = "Instagram 338.0.0.0.1 Android (34/14; 480dpi; 1080x2106; samsung; SM-S918B; x; y; en_GB; 1)"
_KIT = "AppleWebKit/537.36 (KHTML, like Gecko)"

CASES = [
    ("phone app", f"Mozilla/5.0 (Linux; Android 14; SM-S918B Build/X; wv) {_WEBVIEW} Mobile Safari/537.36 {_INSTAGRAM}", "mobile"),
    ("tablet app", f"Mozilla/5.0 (Linux; Android 8.1; SM-T580 Build/X; wv) {_WEBVIEW} Safari/537.36 {_INSTAGRAM}", "tablet"),
    ("app behind Mobile", f"Mozilla/5.0 (Linux; Android 10; K) {_KIT} Chrome/150.0 Mobile Safari/537.36 (App android@150)", "mobile"),
    ("opera mini", "Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16", "mobile"),
    ("tablet pc", "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; .NET4.0C; Tablet PC 2.0; rv:11.0) like Gecko", "desktop"),
    ("shield", f"Mozilla/5.0 (Linux; Android 11; SHIELD Android TV Build/X; wv) {_WEBVIEW} Safari/537.36", "tv"),
    ("shield tablet", f"Mozilla/5.0 (Linux; Android 7.0; SHIELD Tablet K1) {_KIT} Chrome/90.0 Safari/537.36", "tablet"),
    ("android tv says mobile", f"Mozilla/5.0 (Linux; Android 9; BRAVIA 4K GB Build/X; wv) {_WEBVIEW} Mobile Safari/537.36", "tv"),
    ("android tv build", f"Mozilla/5.0 (Linux; Android 12; Some Model Build/STT1.230526.001) {_KIT} Safari/537.36", "tv"),
    ("screen size", f"Mozilla/5.0 (Linux; Android 11; 43UX7000) {_KIT} Chrome/90.0 Safari/537.36", "tv"),
    ("tizen", f"Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) {_KIT} 76.0.3809.146/6.0 TV Safari/537.36", "tv"),
    ("tizen phone", "Mozilla/5.0 (Linux; Tizen 2.4; SAMSUNG SM-Z200F) AppleWebKit/537.3 SamsungBrowser/1.1 Mobile Safari/537.3", "mobile"),
    ("webos", f"Mozilla/5.0 (Web0S; Linux/SmartTV) {_KIT} Chrome/94.0.4606.128 Safari/537.36 WebAppManager", "tv"),
    ("fire tv", f"Mozilla/5.0 (Linux; Android 9; AFTKA Build/PS7633; wv) {_WEBVIEW} Mobile Safari/537.36", "tv"),
    ("fire tablet", f"Mozilla/5.0 (Linux; Android 9; KFTRWI) {_KIT} Silk/118.2.1 like Chrome/118.0 Safari/537.36", "tablet"),
    ("chromecast", f"Mozilla/5.0 (Linux; Android 12; Chromecast) {_KIT} Chrome/118.0 Safari/537.36 CrKey/1.56.500000", "tv"),
    ("apple tv", "AppleCoreMedia/1.0.0.21K69 (Apple TV; U; CPU OS 17_1 like Mac OS X; en_us)", "tv"),
    ("hbbtv", f"Mozilla/5.0 (Linux armv7l) {_KIT} Chrome/84.0 Safari/537.36 HbbTV/1.5.1 (+DRM; X; Y; 1.0;)", "tv"),
    ("lenovo tab says mobile", f"Mozilla/5.0 (Linux; Android 12; TB300XU) {_KIT} Chrome/112.0.0.0 Mobile Safari/537.36", "tablet"),
    ("pad by its name", f"Mozilla/5.0 (Linux; Android 14; OnlyPad 11) {_KIT} Chrome/130.0.0.0 Mobile Safari/537.36", "tablet"),
    ("phone without Mobile", f"Mozilla/5.0 (Linux; Android 13; SM-A536B) {_KIT} Chrome/120.0 Safari/537.36", "mobile"),
    ("unknown without Mobile", f"Mozilla/5.0 (Linux; Android 13; ZZ-9) {_KIT} Chrome/120.0 Safari/537.36", "tablet"),
    ("android app", "Dalvik/2.1.0 (Linux; U; Android 13; ZZ-9 Build/TP1A)", "mobile"),
    ("iphone", f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) {_KIT} Version/26.0 Mobile/15E148 Safari/604.1", "mobile"),
    ("ipad", f"Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) {_KIT} Version/17.0 Mobile/15E148 Safari/604.1", "tablet"),
    ("mac", f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_KIT} Version/17.0 Safari/605.1.15", "desktop"),
    ("chromebook", f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_KIT} Chrome/120.0 Safari/537.36", "desktop"),
    ("chromebook's android", f"Mozilla/5.0 (Linux; Android 9; Some Chromebook 14) {_KIT} Chrome/99.0 Safari/537.36", "desktop"),
    ("windows phone", "Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 650) AppleWebKit/537.36 Edge/15.15", "mobile"),
    ("symbian", "NokiaN73-2/3.0-630.0.2 Series60/3.0 Profile/MIDP-2.0 Configuration/CLDC-1.1", "mobile"),
    ("linux", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "desktop"),
    ("nothing", "", None),
    ("no system", "Something/1.0", None),
]  # fmt: skip


@pytest.mark.parametrize(("ua", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_class_of_a_device(ua: str, expected: str | None) -> None:
    assert device_class(ua) == expected
    assert parse_user_agent(ua).device == expected


@pytest.mark.parametrize(
    ("ua", "expected"),
    [
        ("Mozilla/5.0 (Linux; U; Android 4.2.2; zh-cn; Some_Model-2 Build/X) Mobile", "some-model-2"),
        ("Mozilla/5.0 (Linux; arm_64; Android 13; M40 Plus; wv)", "m40-plus"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit", ""),
        ("Mozilla/5.0 (Windows NT 10.0)", ""),
    ],
)
def test_model_of_an_android_agent(ua: str, expected: str) -> None:
    assert model_of(ua) == expected


HOSTILE = [
    "a",
    "Android; ",
    "(X11; Linux x86_64;",
    "bot ",
    "a.b@",
    " at a",
    "SGInfo",
    "; Android 1; a-b_c",
    "Silk/ ",
    " \t",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_cost_of_an_agent_is_bounded_whatever_it_says(piece: str) -> None:
    """An agent of a million characters costs no more than one of a thousand, give or
    take the noise of the machine.
    """

    def cpu(ua: str) -> float:
        start = time.process_time()
        for _ in range(3):
            parse_user_agent(ua)
        return time.process_time() - start

    short, long = (piece * 1_000_000)[:1000], (piece * 1_000_000)[:1_000_000]
    parse_user_agent("the rules are loaded")
    assert cpu(long) < 5 * cpu(short) + 0.05
