"""A command of another user than the owner of the data is refused before it writes; a
file of root in the directory would end all folding.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from foldlog.cli import OWNERS, SERVICES, main
from foldlog.users import as_user, owner_and_group
from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory

UID = 54321  # has no name on this machine
COMMANDS = {
    "import": ["import", "access.log"],
    "token": ["token", "create"],
    "compress": ["compress"],
    "erase": ["erase", "--visitor", "visitor-1"],
    "verify": ["verify"],
    "rebuild": ["rebuild"],
    "retain": ["retain"],
    "rotate": ["rotate"],
    "compact": ["compact", "--once"],
    "serve": ["serve"],
    "backup": ["backup", "copy"],
}
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another user")


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDirectory:
    """A data directory that another user made."""
    data = DataDirectory(tmp_path / "data")
    make_data_directory(data)
    for path in (data.root, *data.root.rglob("*")):
        os.chown(path, UID, UID)
    monkeypatch.setenv("FOLDLOG_DATA_DIR", str(data.root))
    return data


@root_only
@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_another_user_is_refused(
    foreign: DataDirectory, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(foreign.root.rglob("*"))
    assert main(COMMANDS[command]) == 2
    assert f"Type: sudo -u '#{UID}' foldlog {command}" in capsys.readouterr().err
    assert sorted(foreign.root.rglob("*")) == before
    assert all(path.stat().st_uid == UID for path in before)


@root_only
def test_commands_that_read_are_not_refused(foreign: DataDirectory) -> None:
    assert main(["status"]) == 0
    main(["report"])
    assert all(path.stat().st_uid == UID for path in foreign.root.rglob("*"))


@root_only
def test_service_may_make_its_directory_in_a_folder_of_another_user(tmp_path: Path) -> None:
    from foldlog.preflight import WrongUser, check_user

    os.chown(tmp_path, UID, UID)
    data = DataDirectory(tmp_path)
    check_user(data, "serve", creates=True)
    with pytest.raises(WrongUser):
        check_user(data, "import", creates=False)
    make_data_directory(data)  # by the service, as this user
    check_user(data, "import", creates=False)


def test_every_service_is_asked() -> None:
    assert OWNERS >= SERVICES


@pytest.mark.parametrize(
    ("user", "sudo", "chown"),
    [("foldlog", "sudo -u foldlog", "foldlog:"), ("12345", "sudo -u '#12345'", "12345:12345")],
)
def test_user_without_a_name_is_a_number(user: str, sudo: str, chown: str) -> None:
    assert (as_user(user), owner_and_group(user)) == (sudo, chown)
