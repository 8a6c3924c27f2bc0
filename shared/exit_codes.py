"""Exit codes of every command, and the two kinds of errors that end one with a message.

docs/api.md lists the codes.
"""

from __future__ import annotations

DONE = 0
WRONG = 1
USAGE = 2
TRY_AGAIN = 75


class UsageError(Exception):
    """Ends a command with 2: what was typed, a setting or a file has to be mended
    first.

    The message says what happened and what to type next.
    """


class TemporaryFailure(Exception):
    """Ends a command with 75: it may succeed when it is typed again."""
