"""What came of the tries to publish, in `run/store-state.json`: each publish notes
it, and workers, status and doctor read it, so that none of them asks the database.

The file is not synced and in no backup. One that is lost is written by the next
publish.
"""

from __future__ import annotations

import msgspec

from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.stores.address import shown_address


class StoreState(msgspec.Struct, frozen=True, omit_defaults=True):
    """`store`: its address without a password. `generation`, `as_of`: what it holds of
    this directory, since `published_at`.

    `failures` in a row since `failing_since`, the last with `error`; `is_refused`: the
    store would not take it. `behind_since`: the time of the first generation that it
    lacks. `waiting_ids`: ids that a pass has to yield before. Times are RFC 3339, empty
    where there is none.
    """

    store: str
    generation: int = 0
    as_of: str = ""
    published_at: str = ""
    failures: int = 0
    failing_since: str = ""
    behind_since: str = ""
    error: str = ""
    is_refused: bool = False
    waiting_ids: int = 0


_DECODER = msgspec.json.Decoder(StoreState)


def read_state(data: DataDirectory, settings: Settings) -> StoreState:
    """The state of the store in the settings: an empty one before the first try, if
    another store was tried last, or if this user may not read it.
    """
    unknown = StoreState(shown_address(settings.store))
    try:
        state = _DECODER.decode(data.store_state.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return unknown
    return state if state.store == unknown.store else unknown
