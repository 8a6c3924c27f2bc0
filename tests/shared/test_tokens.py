"""tokens.json: changes of many processes at once, and what a damaged one costs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.disk.durable import make_data_directory
from shared.disk.layout import DataDirectory
from shared.tokens import (
    FILE_MAX_BYTES,
    TokensDamaged,
    TokensFile,
    create_first_admin,
    create_token,
    load_tokens,
    read_tokens,
    revoke_token,
)
from tests.builders.command import run_here
from tests.builders.server import Server, environment
from tests.builders.waiting import TIMEOUT_S

EACH = 15
CREATE = """
import sys
from pathlib import Path
from shared.disk.layout import DataDirectory
from shared.tokens import create_token
for _ in range(int(sys.argv[2])):
    print(create_token(DataDirectory(Path(sys.argv[1])), "read")[0].id)
"""
REVOKE = """
import sys
from pathlib import Path
from shared.disk.layout import DataDirectory
from shared.tokens import revoke_token
for id_ in sys.argv[2:]:
    assert revoke_token(DataDirectory(Path(sys.argv[1])), id_)
"""


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    directory = DataDirectory(tmp_path / "data")
    make_data_directory(directory)
    return directory


def started(code: str, data: DataDirectory, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(data.root), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_no_revoked_token_comes_back_and_none_made_is_lost(tmp_path: Path) -> None:
    """Four processes at once, and the first start of a server beside them."""
    server = Server(tmp_path, admin_token="")
    data = server.data
    make_data_directory(data)
    old = [create_token(data, "read")[0].id for _ in range(2 * EACH)]
    makers = [started(CREATE, data, str(EACH)) for _ in range(2)]
    revokers = [started(REVOKE, data, *old[:EACH]), started(REVOKE, data, *old[EACH:])]
    with server:
        made = {id_ for each in (*makers, *revokers) for id_ in each.communicate()[0].split()}
        assert [each.returncode for each in (*makers, *revokers)] == [0, 0, 0, 0]
        found = load_tokens(data)
        (admin,) = [token.id for token in found if token.scope == "admin"]
        assert len(made) == 2 * EACH and {token.id for token in found} == {*made, admin}
        assert len(re.findall("fl_admin_", server.stderr())) == 1


def test_change_waits_for_another_one(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, to the letter: a token is revoked while another change has read the
    file, and not written it yet.
    """
    token, _ = create_token(data, "read")
    has_read, may_write = threading.Event(), threading.Event()
    monkeypatch.setattr("shared.tokens.read_tokens", lambda data: paused(data, has_read, may_write))
    creator = threading.Thread(target=create_token, args=(data, "ingest"))
    creator.start()
    assert has_read.wait(TIMEOUT_S)
    revoker = threading.Thread(target=revoke_token, args=(data, token.id))
    revoker.start()
    revoker.join(0.5)  # without a lock it would be done
    may_write.set()
    creator.join()
    revoker.join()
    assert [each.scope for each in load_tokens(data)] == ["ingest"]


def paused(data: DataDirectory, has_read: threading.Event, may_write: threading.Event) -> TokensFile:
    found = read_tokens(data)
    if not has_read.is_set():
        has_read.set()
        assert may_write.wait(TIMEOUT_S)
    return found


def entries(data: DataDirectory) -> list[object]:
    return list(json.loads(data.tokens.read_bytes()))


BAD_ENTRIES: dict[str, object] = {
    "a number": 1,
    "null": None,
    "a list": [],
    "empty": {},
    "another scope": {"id": "a", "scope": "root", "sha256": "0" * 64, "created": ""},
    "a hash that is none": {"id": "a", "scope": "admin", "sha256": "x" * 64, "created": ""},
    "a hash with a line end": {"id": "a", "scope": "admin", "sha256": "0" * 64 + "\n", "created": ""},
    "half a hash": {"id": "a", "scope": "admin", "sha256": "0" * 63, "created": ""},
    "a number as id": {"id": 7, "scope": "admin", "sha256": "0" * 64, "created": ""},
}


@pytest.mark.parametrize("entry", BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_bad_entry_costs_that_entry(data: DataDirectory, entry: object) -> None:
    (first, _), (second, _) = create_token(data, "read"), create_token(data, "admin")
    data.tokens.write_text(json.dumps([entries(data)[0], entry, entries(data)[1]]))
    assert load_tokens(data) == (first, second)
    assert read_tokens(data).damage == "has 1 of 3 entries that are no token"
    third, _ = create_token(data, "ingest")
    assert revoke_token(data, first.id)
    assert load_tokens(data) == (second, third), "both can be changed"
    assert entry in entries(data), "and the entry stays for who wants to mend it"


def link(path: Path, to: Path) -> None:
    path.unlink()
    path.symlink_to(to)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def grow(path: Path) -> None:
    os.truncate(path, 1 << 30)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is damaged"),
    "torn": (lambda path: path.write_bytes(path.read_bytes()[:-30]), "is damaged"),
    "binary": (lambda path: path.write_bytes(bytes(range(256))), "is damaged"),
    "zeros": (lambda path: path.write_bytes(bytes(4096)), "is damaged"),
    "an object": (lambda path: path.write_bytes(b'{"tokens":[]}'), "is damaged"),
    "deep": (lambda path: path.write_bytes(b"[" * 100_000), "is damaged"),
    "a directory": (make_directory, "cannot be read (it is no file)"),
    "a pipe": (make_pipe, "cannot be read (it is no file)"),
    "a link": (lambda path: link(path, Path("/etc/passwd")), "cannot be read (Too many levels of symbolic links)"),
    "a link to nothing": (lambda path: link(path, path.with_name("gone")), "cannot be read (Too many levels"),
    "a gibibyte": (grow, f"cannot be read (it is larger than {FILE_MAX_BYTES} bytes)"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_file_that_cannot_be_read_is_kept_and_another_begun(
    data: DataDirectory, damage: Callable[[Path], object], said: str
) -> None:
    lost, _ = create_token(data, "admin")
    damage(data.tokens)
    before = data.tokens.lstat()
    assert load_tokens(data) == ()
    assert read_tokens(data).damage.startswith(said)
    with pytest.raises(TokensDamaged, match="foldlog token create"):
        revoke_token(data, lost.id)
    assert create_first_admin(data) is None, "a start of the server changes nothing"
    assert data.tokens.lstat().st_ino == before.st_ino
    token, _ = create_token(data, "read")
    assert load_tokens(data) == (token,)
    (kept,) = data.private.glob("tokens.*.damaged")
    assert kept.lstat().st_ino == before.st_ino


def test_list_and_create_of_the_command_say_what_is_damaged(data: DataDirectory) -> None:
    token, _ = create_token(data, "read")
    data.tokens.write_text(json.dumps([*entries(data), 7]))
    environ = environment(data.root, admin_token="")
    listed = run_here(["token", "list"], environ)
    assert (listed.returncode, token.id in listed.stdout) == (1, True)
    assert f"{data.tokens} has 1 of 2 entries that are no token" in listed.stderr
    data.tokens.write_bytes(b"{")
    assert run_here(["token", "revoke", token.id], environ).returncode == 2
    assert run_here(["token", "create", "--scope", "read"], environ).returncode == 0
    assert run_here(["token", "list"], environ).returncode == 0


WITHOUT_USE: dict[str, list[str]] = {
    "no site": ["--scope", "pixel", "--use", "mail_open"],
    "no use": ["--scope", "pixel", "--site", "shop.example"],
    "a site that is not listed": ["--scope", "pixel", "--site", "other.example", "--use", "mail_open"],
    "a use that a URL would escape": ["--scope", "pixel", "--site", "shop.example", "--use", "mail open"],
    "a use of three": ["--scope", "pixel", "--site", "shop.example", "--use", "a/b/c"],
    "the sign between the parts": ["--scope", "pixel", "--site", "shop.example", "--use", "a~b"],
    "a use of another token": ["--scope", "read", "--use", "mail_open"],
}


@pytest.mark.parametrize("options", WITHOUT_USE.values(), ids=WITHOUT_USE)
def test_pixel_needs_a_site_and_a_use(data: DataDirectory, options: list[str]) -> None:
    done = run_here(["token", "create", *options], environment(data.root, sites="shop.example"))
    assert (done.returncode, done.stdout, "--" in done.stderr) == (2, "", True)
    assert load_tokens(data) == ()


def test_pixel_is_made_listed_and_revoked(data: DataDirectory) -> None:
    environ = environment(data.root, sites="shop.example")
    site = ["--site", "Shop.example", "--use", "mail_open/may-2026"]
    made = run_here(["token", "create", "--scope", "pixel", *site], environ)
    key = made.stdout.partition("\n")[0]
    assert re.fullmatch(r"[0-9a-f]{8}~shop\.example~mail_open/may-2026~[\w-]{22}", key)
    assert f"/v1/pixel.gif?k={key}" in made.stdout
    assert key not in data.tokens.read_text("utf-8")
    (token,) = load_tokens(data)
    listed = run_here(["token", "list"], environ).stdout
    assert {token.id, "pixel", "shop.example", "mail_open/may-2026"} <= set(listed.split()) and key not in listed
    assert run_here(["token", "revoke", token.id], environ).returncode == 0
    assert load_tokens(data) == ()


def test_token_of_some_sites_is_made_and_listed(data: DataDirectory) -> None:
    environ = environment(data.root, sites="shop.example,blog.example,news.example")
    sites = ["--site", "Shop.example:443", "--site", "blog.example"]
    made = run_here(["token", "create", "--scope", "read", *sites], environ)
    assert made.returncode == 0, made.stderr
    assert "for blog.example, shop.example" in made.stdout
    (token,) = load_tokens(data)
    assert (token.scope, token.sites) == ("read", ("blog.example", "shop.example"))
    assert "blog.example, shop.example" in run_here(["token", "list"], environ).stdout


WITHOUT_SITES: dict[str, list[str]] = {
    "of a sender": ["--scope", "ingest", "--site", "shop.example"],
    "one that is not listed": ["--scope", "read", "--site", "other.example"],
    "one of two that is not listed": ["--scope", "admin", "--site", "shop.example", "--site", "other.example"],
    "none": ["--scope", "read", "--site", ""],
    "two of a pixel": ["--scope", "pixel", "--use", "mail", "--site", "shop.example", "--site", "shop.example"],
}


@pytest.mark.parametrize("options", WITHOUT_SITES.values(), ids=WITHOUT_SITES)
def test_token_is_for_sites_that_there_are(data: DataDirectory, options: list[str]) -> None:
    done = run_here(["token", "create", *options], environment(data.root, sites="shop.example"))
    assert (done.returncode, done.stdout, "--site" in done.stderr) == (2, "", True)
    assert load_tokens(data) == ()
