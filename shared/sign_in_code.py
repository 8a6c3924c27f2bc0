"""A one-time code that signs an operator in: `foldlog demo` prints it in a link, the
page exchanges it for a token of its own.

private/ holds the hash of one code at most, and until when it is valid. The worker that
exchanges it removes that file, under the lock of the tokens, so that a code works once.
"""

from __future__ import annotations

import hmac
import secrets

import msgspec

from shared.disk.durable import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, make_directory, publish, remove
from shared.disk.layout import DataDirectory
from shared.timestamps import now_ms
from shared.tokens import changing_tokens, create_token, digest, read_private

LIFETIME_S = 3600
_CODE_BYTES = 24


class _Code(msgspec.Struct, frozen=True):
    """`sha256`: in hex."""

    sha256: str
    expires_ms: int


_CODE = msgspec.json.Decoder(_Code)


def create_code(data: DataDirectory) -> str:
    """A new code, in place of the one before."""
    code = secrets.token_urlsafe(_CODE_BYTES)
    make_directory(data.private, PRIVATE_DIRECTORY_MODE)
    kept = _Code(digest(code).hex(), now_ms() + LIFETIME_S * 1000)
    publish(data.sign_in_code, msgspec.json.encode(kept), PRIVATE_MODE)
    return code


def is_right(data: DataDirectory, code: str, at_ms: int) -> bool:
    """Whether this is the code, and still valid. Compared in constant time."""
    try:
        content = read_private(data.sign_in_code)
        kept = _CODE.decode(content or b"")
    except (OSError, msgspec.DecodeError):
        kept = _Code("", 0)
    is_same = hmac.compare_digest(digest(code).hex(), kept.sha256)
    return is_same and at_ms < kept.expires_ms


def spend(data: DataDirectory, code: str, at_ms: int) -> str | None:
    """The secret of a new admin token for a code that is right; None for any other.
    Raises TokensBusy, OSError.
    """
    with changing_tokens(data):
        if not is_right(data, code, at_ms):
            return None
        remove([data.sign_in_code])
    return create_token(data, "admin")[1]
