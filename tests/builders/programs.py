"""Programs that are no Python packages: a test that needs one is skipped without it,
and fails where CI is "true".
"""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str) -> str:
    """The path of a program. Debian has some in /usr/sbin, which is not on every
    path.
    """
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed, and CI=true asks for every component")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found
