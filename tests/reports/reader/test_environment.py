"""A reader process starts without the secrets of its worker's environment, and still
finds its libraries and the settings of its driver.
"""

from __future__ import annotations

import os

import pytest

from reports.reader.environment import adopt, driver_environment, reader_environment

ENVIRON = {
    "PATH": "/usr/bin",
    "LC_ALL": "C.UTF-8",
    "PYTHONPATH": "/srv/foldlog",
    "SSL_CERT_FILE": "/etc/ssl/own.pem",
    "FOLDLOG_ADMIN_TOKEN": "secret",
    "FOLDLOG_STORE": "postgresql://foldlog:secret@db/foldlog",
    "DATABASE_URL": "postgresql://foldlog:secret@db/foldlog",
    "REDIS_URL": "redis://:secret@cache",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "PGPASSWORD": "secret",
    "PGSSLROOTCERT": "/etc/ssl/db.pem",
}


def test_only_names_without_secrets_are_passed_on() -> None:
    found = reader_environment(ENVIRON)
    assert set(found) == {"PATH", "LC_ALL", "PYTHONPATH", "SSL_CERT_FILE"}
    assert "secret" not in repr(found)


def test_driver_gets_its_settings_through_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    given = driver_environment(ENVIRON)
    assert given == {"PGPASSWORD": "secret", "PGSSLROOTCERT": "/etc/ssl/db.pem"}
    monkeypatch.setattr(os, "environ", dict(os.environ))
    adopt(given)
    assert os.environ["PGPASSWORD"] == "secret"
