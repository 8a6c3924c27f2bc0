"""Long files first, where several are run at once: they must not be what everybody
waits for at the end.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return  # one after the other, as they were asked for
    longest: dict[Path, float] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")  # whoever needs more time than others says so
        longest[item.path] = max(longest.get(item.path, 0.0), float(mark.args[0]) if mark else 0.0)
    items.sort(key=lambda item: -longest[item.path])
