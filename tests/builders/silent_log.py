"""The operator's log in tests: nothing is printed, every call is kept."""

from __future__ import annotations


class SilentLog:
    """`entries` are (event, fields) of every level, in order; `warnings` are the events
    of level warning and error.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, object]]] = []
        self.warnings: list[str] = []

    def info(self, event: str, **fields: object) -> None:
        self.entries.append((event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.entries.append((event, fields))
        self.warnings.append(event)

    debug = info
    error = warning

    def events(self) -> list[str]:
        return [event for event, _ in self.entries]

    def outcomes(self, event: str) -> list[object]:
        """The field `outcome` of each entry of an event."""
        return [fields["outcome"] for each, fields in self.entries if each == event]
