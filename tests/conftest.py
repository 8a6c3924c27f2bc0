"""How often a property is tried: fewer examples where the long tests are left out."""

from __future__ import annotations

import hypothesis
import pytest

EXAMPLES = 500
EXAMPLES_OF_THE_SHORT_TIER = 60


def pytest_configure(config: pytest.Config) -> None:
    is_short = config.option.markexpr == "not long"
    examples = EXAMPLES_OF_THE_SHORT_TIER if is_short else EXAMPLES
    hypothesis.settings.register_profile("foldlog", max_examples=examples, deadline=None)
    hypothesis.settings.load_profile("foldlog")
