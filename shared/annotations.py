"""What people note beside the numbers, in annotations.json: a deploy, a campaign, a day
without power. Each has a date or a moment, a text, and maybe one site.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from shared.disk.layout import DataDirectory
from shared.host_names import SITE
from shared.kept_entries import NO_CONTROLS, Changing, Entries, Found, KeptFile

ENTRIES_MAX = 500
TEXT_MAX = 200
ID_CHARS = 16
_WHAT = "annotation"

# A date is that of whoever reads it: it is marked at the bar of this date in each zone.
_DATE = "(19[7-9]|[2-8][0-9]{2})[0-9]-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_ZONE = "(Z|[-+]([01][0-9]|2[0-3]):[0-5][0-9])"
At = Annotated[str, Meta(pattern=f"^{_DATE}(T{_TIME}{_ZONE})?$(?!\\n)")]
Text = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX, pattern=NO_CONTROLS)]
Site = Annotated[str, Meta(pattern=f"^({SITE.pattern})$(?!\\n)")]


class Annotation(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """`at`: a date, or a time with a zone. `site`: None for all."""

    at: At
    text: Text
    site: Site | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a day that no calendar has."""
        try:
            (date if len(self.at) == 10 else datetime).fromisoformat(self.at)
        except ValueError:
            raise ValueError("`at` must be a date, or a time with a zone such as 2026-11-22T16:00:00Z") from None

    @property
    def moment(self) -> datetime:
        """By which they are in order: of a date, its beginning in UTC."""
        parsed = datetime.fromisoformat(self.at)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)

    @property
    def id(self) -> str:
        """Which one it is: kept twice, it is one."""
        said = "\0".join((self.site or "", self.at, self.text))
        return hashlib.sha256(said.encode("utf-8")).hexdigest()[:ID_CHARS]


_ENTRIES = Entries(
    _WHAT, msgspec.json.Decoder(Annotation), key=lambda each: each.id, kind=lambda _: _WHAT, most=ENTRIES_MAX
)


def annotations_file(data: DataDirectory) -> KeptFile[Annotation]:
    return KeptFile(data.annotations, data.annotations_lock, data.damaged_annotations, _ENTRIES)


def read_annotations(data: DataDirectory) -> Found[Annotation]:
    """What annotations.json holds. Raises nothing for what is wrong with it."""
    return annotations_file(data).read()


def put_annotation(data: DataDirectory, entry: Annotation, changing: Changing | None = None) -> bool:
    """Whether it was there already. Raises as KeptFile.put."""
    return annotations_file(data).put(entry, changing)


def delete_annotation(data: DataDirectory, id_: str, changing: Changing | None = None) -> bool:
    """False if there is none with that id. Raises as KeptFile.delete."""
    return annotations_file(data).delete(id_, changing)
