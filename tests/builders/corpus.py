"""Inputs of the fuzzers that are kept in the repository: tests/data/fuzz/<name>/.

Each file is one input, and runs first. What hypothesis finds failing is written there
as `failing`, the smallest last: give it a name that says what it is, and mend the
cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[1] / "data" / "fuzz"


def corpus(name: str) -> list[bytes]:
    """Every input that is kept, in the order of their names."""
    return [path.read_bytes() for path in sorted((ROOT / name).iterdir())]


@contextmanager
def kept_if_it_fails(name: str, content: bytes) -> Iterator[None]:
    try:
        yield
    except Exception:
        with suppress(OSError):  # the source tree may be read-only
            (ROOT / name / "failing").write_bytes(content)
        raise
