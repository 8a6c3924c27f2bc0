"""Users of this machine as an operator types them. One without a name, as in a
container, is its number, which `chown` and `sudo` take in a form of its own.
"""

from __future__ import annotations

import os
import pwd


def user_name(uid: int) -> str:
    """The name, or the number of a user without one."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def me() -> str:
    return user_name(os.geteuid())


def as_user(user: str) -> str:
    """`sudo -u foldlog`, or `sudo -u '#12345'`."""
    return f"sudo -u '#{user}'" if user.isdecimal() else f"sudo -u {user}"


def owner_and_group(user: str) -> str:
    """What `chown` takes: `foldlog:`, with the group of that user, or `12345:12345`."""
    return f"{user}:{user}" if user.isdecimal() else f"{user}:"
