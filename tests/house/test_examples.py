"""The environment files in docs/examples, read as systemd and a shell read them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from shared.settings import Settings, SettingsError, load
from tests.builders.pages import ROOT

FILES = sorted((ROOT / "docs/examples").glob("*.env"))


def environment_of(path: Path) -> dict[str, str]:
    words = shlex.split(path.read_text("utf-8"), comments=True)
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def settings_of(name: str) -> Settings:
    return load(environment_of(ROOT / f"docs/examples/{name}.env"))


def test_there_is_one_for_each_stage() -> None:
    assert [path.stem for path in FILES] == ["development", "production", "staging"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_example_is_understood_and_changes_something(path: Path) -> None:
    given = environment_of(path)
    assert given and load(given) != Settings()


def test_mistyped_example_is_noticed() -> None:
    given = environment_of(FILES[0])
    with pytest.raises(SettingsError):
        load(given | {"FOLDLOG_WORKER": "2"})


@pytest.mark.parametrize("name", ["staging", "production"])
def test_what_faces_visitors_asks_for_consent_and_syncs(name: str) -> None:
    settings = settings_of(name)
    assert (settings.consent, settings.durability) == ("required", "fsync")
    assert settings.disk_reserve > 0 and settings.rate_limit > 0 and settings.sites and settings.trusted_proxies
    assert not settings.admin_token and not settings.ingest_keys, "no secret stands in an example"
