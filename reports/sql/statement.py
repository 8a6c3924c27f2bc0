"""One SQL statement and what is bound to its named parameters. Nothing from outside is
ever part of the text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reports.plan import Parts


@dataclass
class Parameters:
    """What a statement binds, collected while its text is composed. `parts` are bound
    as the paths of the files, once these are verified.
    """

    values: dict[str, object] = field(default_factory=dict)
    parts: dict[str, Parts] = field(default_factory=dict)

    def value(self, name: str, value: object) -> str:
        """The placeholder of a value."""
        self.values[name] = value
        return f"${name}"

    def files(self, name: str, parts: Parts) -> str:
        """The placeholder of a list of paths."""
        self.parts[name] = parts
        return f"${name}"


@dataclass(frozen=True)
class Statement:
    text: str
    parameters: Parameters
