"""The key of a pixel (`k`): `id~site~use~mark`, as it stands in mail and pages.

Everyone who gets the mail sees it, so it gives no more than a page has: to send one
kind of event for one site. It is a token as any other: its SHA-256 is kept, which
covers all of it, so that no part can be altered, and nothing in the data directory
makes another one.
"""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

from shared.host_names import SITE

PIXEL = "/v1/pixel.gif"
KEY_MAX_CHARS = 450
USE = re.compile(r"[A-Za-z0-9_.-]{1,60}(/[A-Za-z0-9_.-]{1,60})?")
_BETWEEN = "~"  # neither in a site nor in a use, and no URL escapes it
_MARK_BYTES = 16


class PixelUse(NamedTuple):
    """What the events of a pixel are: their site and name, and the `campaign` that
    stands among their props (empty: none).
    """

    site: str
    name: str
    campaign: str


def make_pixel_key(id_: str, site: str, use: str) -> str:
    """A new key. `use` is `name` or `name/campaign`."""
    if not SITE.fullmatch(site) or not USE.fullmatch(use):
        raise ValueError(site, use)
    return _BETWEEN.join([id_, site, use, secrets.token_urlsafe(_MARK_BYTES)])


def parse_pixel_key(key: str) -> PixelUse:
    """What a key says that is known to be one."""
    _, site, use, _ = key.split(_BETWEEN)
    name, _, campaign = use.partition("/")
    return PixelUse(site, name, campaign)
