"""The class of the device behind a user agent: `tv`, `tablet`, `mobile`, `desktop`, or
None where the agent does not show it.

The system decides, and on Android, which phones, tablets and television sets share, the
model: its family (device_families.txt), else a word in its name, else whether the
browser says `Mobile`. A client chooses its user agent, so each rule looks at a bounded
part of it once, and none has a repetition within a repetition.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from compactor.fold.alternatives import Alternatives

# Longer ones are made up; what a browser says of its device comes first.
LOOKED_AT_CHARS = 1000
_MODEL_CHARS = 24
_FAMILY_MIN_CHARS = 3

_ANDROID = re.compile(r"(?:Andr[o0]id|(?<=; )Adr)[ /;-]?[^;()#]{0,20}", re.IGNORECASE)
# The name that a maker gave the device, and its build: no word there says who uses it.
MODEL_AND_BUILD = re.compile(r"Andr[o0]id [\d.]+; (?:U; )?(?:[a-zA-Z_-]{2,7}; ?)?[^;()]{1,60}(?=[;)])", re.IGNORECASE)
_PARTS = re.compile(r"[;)]|##")
_BEHIND_MODEL = re.compile(r" Build| MIUI|Build/| AppleWebKit")
_NO_MODEL = re.compile(
    r"(?:[a-z]{2,3}(?:[-_][A-Za-z]{2,4}(?:[-_][A-Za-z]{2,4})?)?|U|wv|K|arm(?:_64)?|x86(?:_64)?|HarmonyOS|Mobile"
    r"|Tablet|rv:[\d.]+|\{?AppleWebKit.*|)\s*"
)
_SEPARATORS = re.compile(r"[ _\-./]+")

_TV = Alternatives(
    r"(?<![a-z])TV(?![a-z])|Smart-?TV|HbbTV|Web0S|NetCast|Google_?TV|AndroidTV|Apple ?TV|tvOS|VIDAA|VIZIO|ViziOS"
    r"|(?<![a-z])OMI/|smarttv_|BRAVIA|CrKey|MiTV|MIBOX|\bAFT[A-Z]|Roku|NETTV|CE-HTML|SonyCEBrowser|DLNADOC|DuneHD"
    r"|Viera|AQUOS|Maple ?20|SmartHub|Espial|InettvBrowser|POV_TV|Freebox|olleh|NETRANGE|SamsungBD|LG-?BP|BDPlayer"
    r"|LG Browser|(?<![a-z -])DTV|BrightSign|Opera/9\.80 \(Linux (?:mips|armv|sh4)|-Device/1\.0\.0 \(Sky|stbapp|SetTop"
    r"|(?<![a-z])STB(?![a-z])|YouView|_VLC/|\(Astro;|Streamer|SRAF/|Coolita|TiviMate|FIRETV|#TCL/"
    r"|Unknown; Linux (?:mips|arm)|Tizen [\d.]+\) AppleWebKit"
    # Builds of Android for television sets have a T as their second letter.
    r"|Build/[L-U]T[A-Z]\d",
    ignores_case=True,
)
_TV_MODEL = re.compile(
    r"stick|led-?\d|uhd|dongle|chromecast|[-_]shell[- ]|streaming|stb|-box|(?<!x)box(?![a-z])|tv(?![a-z])"
    # The size of the screen in inches, and what may stand before it.
    r"|^(?:[a-z]{1,12}-){0,2}(?:19|20|22|24|28|32|39|4[0235]|49|5[0158]|6[05]|7[05]|8[2456])[a-z]{1,7}-?\d"
    r"|(?:^|-)(?:lt|le|lc|led)-?(?:24|32|39|4[0235]|50|55|65)|^[a-z]{1,2}(?:24|32|43|50|55|65|75)[a-z]{2,6}\d"
    r"|^[hu](?:24|32|43|50|55|65)[a-z]\d{4}|t2s?csm$|t2sm$"
    r"|^(?:a95x|x9[268]|h96|t95|tx[3-9]|mxq)|^km\d(?!\d)"
)
_LAPTOP_MODEL = re.compile(r"chromebook|netbook|laptop")
_TABLET_MODEL = re.compile(r"(?:^|-|[a-z])tab(?:let)?(?![a-z])|[a-z-]pad(?![a-z])|^pad-|^[a-z]{3}\d?-w\d\d")
_TABLET = Alternatives(
    r"iPad|PlayBook|Silk(?!.{0,200}Mobile)|Kindle|PocketBook|TouchPad|hp-tablet|Nook|Xoom|Tablet(?! PC)|Tablet;",
    ignores_case=True,
)
_APPLE_PHONE = Alternatives(r"iPhone|iPod|dv\(iPh|pr\(UCBrowser", ignores_case=True)
_WINDOWS_PHONE = Alternatives(
    r"Windows Phone|WPDesktop|XBLWP7|ZuneWP7|IEMobile|Windows CE|Windows NT [\d.]+; ARM; (?:Lumia|\d)"
)
_PHONE = Alternatives(
    r"Mobi|Opera Mini|OPiOS|BlackBerry|BB10|Symbian|Series ?[46]0|MIDP|CLDC|UP\.Browser|UP\.Link|UP/\d|NetFront|Obigo"
    r"|MAUI|WAP|KaiOS|J2ME|MeeGo|Maemo|Nokia|SonyEricsson|SAMSUNG-|DoCoMo|KDDI-|webOS/\d|PalmOS|PalmSource|Palm OS"
    r"|Palmscape|BREW|POLARIS|Teleca|SEMC|Dorado|Bada|FB4A|UCWEB|OneBrowser|Danger hiptop|MQQBrowser/Mini|iOS[ /;)]"
    r"|Puffin/[\d.]+AP|Configuration/|^dv\(",
    ignores_case=True,
)
_DESKTOP = Alternatives(
    r"Windows|Win(?:9|NT|32|64)|\(win\d|Macintosh|Mac ?OS|os=Mac|Mac_PowerPC|OSX|MacBook|iMac\d|Mac(?:mini|Pro)|X11"
    r"|CrOS|Wayland|Linux [xi]\d?86|Linux x86_64|Linux \d|; Linux[;)]|Linux; [a-z]{2}_[A-Z]{2}|Ubuntu|SUSE|Red Hat"
    r"|FreeBSD|OpenBSD|NetBSD|SunOS|OS/2|Amiga|BeOS|Haiku|OpenVMS|RISC OS|Inferno|Syllable|CYGWIN|Emacs|MSOffice"
    r"|^Safari|\(PC; OpenHarmony|\(2in1;|Darwin/[\d.]+ \((?:x86_64|i386)\)",
    ignores_case=True,
)
# The first that fits decides where the system is not Android.
_BY_SYSTEM = (
    ("mobile", _WINDOWS_PHONE),
    ("tablet", Alternatives(r"Silk/|HTC_Flyer")),
    ("desktop", Alternatives(r"Windows NT|Macintosh|CrOS|\(X11; (?:U; )?Linux (?:x86_64|i\d86)[;)](?!.{0,200}TV)")),
    ("tv", _TV),
    ("tablet", _TABLET),
    ("mobile", _APPLE_PHONE),
    ("mobile", _PHONE),
    ("desktop", _DESKTOP),
)


def device_class(ua: str) -> str | None:
    """`tv`, `tablet`, `mobile`, `desktop` or None."""
    ua = ua[:LOOKED_AT_CHARS]
    android = _ANDROID.search(ua)
    if android and not _WINDOWS_PHONE.search(ua):
        return _android_class(ua, model_of(ua))
    for kind, pattern in _BY_SYSTEM:
        if pattern.search(ua):
            return kind
    return None


def _android_class(ua: str, model: str) -> str:
    family = _family(model)
    if family is not None:
        return family
    if _TV.search(ua):
        return "tv"
    if _TV_MODEL.search(model):
        return "tv"
    if _LAPTOP_MODEL.search(model):
        return "desktop"
    if "/apad" in ua:  # so a browser of Yandex calls a tablet
        return "tablet"
    if _TABLET_MODEL.search(model) or _TABLET.search(ua):
        return "tablet"
    # A browser says Mobile on a phone alone; an app says nothing.
    is_phone = "obi" in ua or "Mini/" in ua or not ua.startswith("Mozilla")
    return "mobile" if is_phone else "tablet"


def model_of(ua: str) -> str:
    """What an Android agent calls its device, in lower case and joined by hyphens; an
    empty text if it names none.
    """
    android = _ANDROID.search(ua)
    if android is None:
        return ""
    for part in _PARTS.split(ua[android.end() : android.end() + 160])[:6]:
        if not _NO_MODEL.fullmatch(part.strip()):
            name = _BEHIND_MODEL.split(part.strip(), maxsplit=1)[0].strip()
            return _SEPARATORS.sub("-", name.lower())[:_MODEL_CHARS]
    return ""


def _family(model: str) -> str | None:
    """The class of the longest family that the model belongs to."""
    families = _families()
    whole = model + "$"
    for length in range(len(whole), _FAMILY_MIN_CHARS - 1, -1):
        if whole[:length] in families:
            return families[whole[:length]]
    return None


@cache
def _families() -> dict[str, str]:
    """The class of each family: the beginning of the names of its models, or with a
    `$` a whole name.
    """
    lines = Path(__file__).with_name("device_families.txt").read_text(encoding="utf-8").splitlines()
    named = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {family: kind for kind, _, families in named for family in families.split()}
