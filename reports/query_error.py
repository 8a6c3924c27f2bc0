"""What is wrong with a question."""

from __future__ import annotations

from shared.exit_codes import UsageError


class QueryError(UsageError, ValueError):
    """A parameter is invalid. The message begins with its name and shows valid
    values.
    """

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(f"{parameter}: {detail}")
        self.parameter = parameter
