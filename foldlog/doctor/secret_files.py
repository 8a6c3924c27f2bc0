"""Files of settings that hold secrets, and the users that may read them besides the
service: the file of FOLDLOG_CONFIG, and those that the units of systemd name.
"""

from __future__ import annotations

import grp
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from foldlog.doctor.finding import Finding

UNITS = Path("/etc/systemd/system")
# As the units are shipped.
ENVIRONMENT_FILE = Path("/etc/foldlog/foldlog.env")
READ_MAX_CHARS = 1 << 20
_NAMED = re.compile(r"^EnvironmentFile=-?(/\S+)", re.MULTILINE)
_SECRET = re.compile(
    r"^[ \t]*(export[ \t]+)?(foldlog_)?(admin_token|ingest_keys)[ \t]*=[ \t]*[\[\"']*[^\s\[\]\"'#]|://[^/\s:@]*:[^/\s@]+@",
    re.IGNORECASE | re.MULTILINE,
)


def settings_files(config: Path | None, units: Path = UNITS) -> list[Path]:
    """Those that exist, each once."""
    named = [Path(path) for unit in sorted(units.glob("foldlog*/*.conf")) for path in _NAMED.findall(_text(unit))]
    named += [Path(path) for unit in sorted(units.glob("foldlog*.service")) for path in _NAMED.findall(_text(unit))]
    found = dict.fromkeys([*([config] if config else []), *named, ENVIRONMENT_FILE])
    return [path for path in found if _exists(path)]


def findings(files: list[Path], owner: int) -> Iterator[Finding]:
    """One for each file that others than `owner`, the user of the service, and root may
    read.
    """
    for path in files:
        who = _readers(path, owner)
        text = _text(path)
        if who and (not text or _SECRET.search(text)):
            found = f"{path} holds secrets, and {who} may read it"
            yield Finding("settings file", "wrong", found, f"chown {_name(owner)} {path}; chmod 600 {path}")


def _readers(path: Path, owner: int) -> str:
    """Who else may read a file; empty for none."""
    found = path.stat()
    if found.st_mode & stat.S_IROTH:
        return "every user of this host"
    others = _members(found.st_gid) - {_name(owner), _name(found.st_uid), "root"}
    if found.st_mode & stat.S_IRGRP and others:
        return ", ".join(sorted(others))
    return ""


def _members(gid: int) -> set[str]:
    try:
        named = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        named = set()
    return named | {user.pw_name for user in pwd.getpwall() if user.pw_gid == gid}


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(READ_MAX_CHARS)
    except OSError:
        return ""


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False
