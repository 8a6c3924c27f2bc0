"""What a statement of ClickHouse binds."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Bound:
    """Collected while the text of a statement is composed."""

    values: dict[str, object] = field(default_factory=dict)

    def value(self, name: str, kind: str, value: object) -> str:
        """The placeholder of a value of a ClickHouse type."""
        self.values[name] = value
        return f"{{{name}:{kind}}}"
