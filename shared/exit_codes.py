"""Exit codes of all commands, and the errors that end one with a message. docs/api.md
lists the codes.
"""

from __future__ import annotations

SUCCESS = 0
PROBLEMS = 1
USAGE = 2
TRY_AGAIN = 75


class UsageError(Exception):
    """Ends a command with USAGE: the operator must correct the command line, a setting
    or a file first. The message contains what to type.
    """


class TemporaryFailure(Exception):
    """Ends a command with TRY_AGAIN: it may succeed later."""
