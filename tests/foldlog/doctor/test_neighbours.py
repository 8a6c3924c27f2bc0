"""What the doctor says of other users of the host: files of settings that they may
read, and locks that they may take, or have taken.
"""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from foldlog.doctor import data_findings, data_probe
from foldlog.doctor.secret_files import findings, settings_files
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory

SECRETS = {
    "a token": ("FOLDLOG_ADMIN_TOKEN=0123456789\n", True),
    "exported keys": ("export FOLDLOG_INGEST_KEYS='a b'\n", True),
    "TOML": ('listen = "127.0.0.1:1"\nadmin_token = "0123456789"\n', True),
    "TOML keys": ('ingest_keys = ["a"]\n', True),
    "a password in a URL": ("DATABASE_URL=postgresql://me:secret@db/x\n", True),
    "none": ("FOLDLOG_SITES=example.com\nFOLDLOG_STORE=postgresql://db/x\n", False),
    "commented out": ("#FOLDLOG_ADMIN_TOKEN=0123456789\n", False),
    "empty": ("FOLDLOG_ADMIN_TOKEN=\nFOLDLOG_INGEST_KEYS = []\n", False),
}


@pytest.mark.parametrize(("text", "is_secret"), SECRETS.values(), ids=SECRETS)
def test_settings_file_that_all_may_read_is_wrong_if_it_holds_secrets(
    tmp_path: Path, text: str, is_secret: bool
) -> None:
    file = tmp_path / "foldlog.env"
    file.write_text(text)
    file.chmod(0o644)
    found = list(findings([file], os.geteuid()))
    assert [each.level for each in found] == ["wrong"] * is_secret
    assert all("every user of this host may read it" in each.found and "chmod 600" in each.do for each in found)
    assert text.partition("=")[2].strip()[:8] not in str(found) or not is_secret, "it repeats no secret"
    file.chmod(0o600)
    assert list(findings([file], os.geteuid())) == []


def test_group_without_other_members_may_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "foldlog.env"
    file.write_text("FOLDLOG_ADMIN_TOKEN=0123456789\n")
    file.chmod(0o640)
    members: list[str] = []
    monkeypatch.setattr(pwd, "getpwall", list)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("some", "", gid, members)))
    assert list(findings([file], os.geteuid())) == []
    members.append("backup")
    (found,) = findings([file], os.geteuid())
    assert "backup may read it" in found.found


def test_files_of_config_and_units_are_found(tmp_path: Path) -> None:
    config, first, second = tmp_path / "foldlog.toml", tmp_path / "a.env", tmp_path / "b.env"
    for file in (config, first, second):
        file.touch()
    units = tmp_path / "system"
    (units / "foldlog.service.d").mkdir(parents=True)
    (units / "foldlog.service").write_text(f"[Service]\nEnvironmentFile=-{first}\nEnvironmentFile=/gone/c.env\n")
    (units / "foldlog.service.d" / "more.conf").write_text(f"[Service]\nEnvironmentFile={second}\n")
    assert {config, first, second} <= set(settings_files(config, units))
    assert Path("/gone/c.env") not in settings_files(config, units)


def test_lock_files_that_others_may_open_are_a_warning(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    make_data_directory(data)
    data.compact_lock.touch()
    data.compact_lock.chmod(0o640)
    (found,) = data_probe.locks(data)
    assert found.level == "warning" and f"chmod 600 {data.compact_lock}" in found.do
    data.compact_lock.chmod(0o600)
    assert list(data_probe.locks(data)) == []


TAKE = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("locked", flush=True)
input()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")
def test_lock_of_another_user_is_wrong_and_named(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    make_data_directory(data)
    data.serve_lock.touch(0o600)
    command = [sys.executable, "-c", TAKE, str(data.serve_lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline().strip() == "locked"
        found = list(data_probe.locks(data))
        assert [each for each in found if each.level == "wrong"] == list(
            data_findings.locks([], [(data.serve_lock, process.pid, "65534")])
        )
        process.communicate("\n")
