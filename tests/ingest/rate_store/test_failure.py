"""A failure is said in one line, without what is secret in the address."""

from __future__ import annotations

import pytest

from ingest.rate_store.failure import failed

ADDRESS = "redis://me:s%65cret@cache.example:6379/0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("connection refused\nmore", "OSError: connection refused"),
        ("cannot log in with secret", "OSError: cannot log in with …"),
        ("cannot log in with s%65cret", "OSError: cannot log in with …"),
        (f"cannot reach {ADDRESS}", "OSError: cannot reach …"),
        ("", "OSError: no reason given"),
    ],
)
def test_failure_repeats_no_secret(text: str, said: str) -> None:
    assert str(failed(ADDRESS, OSError(text))) == said


def test_failure_is_short() -> None:
    assert len(str(failed(ADDRESS, OSError("x" * 5000)))) == 300
