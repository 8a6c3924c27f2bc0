"""Programs that are no Python packages: a test that needs one is skipped without it,
and fails where CI is "true".
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def program(name: str) -> str:
    """The path of a program. Debian has some in /usr/sbin, which is not on every
    path.
    """
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    return found or missing(f"{name} is not installed")


def missing(why: str) -> NoReturn:
    """Skip the test, or fail it where CI is "true"."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{why}, and CI=true asks for every component")
    pytest.skip(why)
