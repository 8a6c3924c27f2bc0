"""Values of the host, from /proc, /sys and its clock: limits, memory, sockets,
synchronisation. Changes nothing.
"""

from __future__ import annotations

import ctypes
import ipaddress
import math
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

# In cgroup v1, no limit is a number near the largest one.
_NO_LIMIT = 1 << 60
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5
_LISTEN = "0A"  # the state of a socket that listens


class Limits(NamedTuple):
    """Hard limits of a process, and its soft one of core dumps; infinite where there is
    none.
    """

    open_files: float
    file_size: float
    core: float = 0.0


def limits_of(pid: int | None = None, proc: Path = PROC) -> Limits | None:
    """The limits of a process, or of this one. None when they cannot be read."""
    try:
        return parse_limits((proc / (str(pid) if pid else "self") / "limits").read_text("ascii"))
    except (OSError, ValueError):
        return None


def parse_limits(text: str) -> Limits:
    """Limits from a text like /proc/<pid>/limits. Raises ValueError."""
    found = {}
    for name in ("Max open files", "Max file size"):
        match = re.search(rf"^{name} +(\S+) +(\S+)", text, re.MULTILINE)
        if match is None:
            raise ValueError(f"there is no {name}")
        found[name] = math.inf if match[2] == "unlimited" else float(match[2])
    core = re.search(r"^Max core file size +(\S+)", text, re.MULTILINE)
    kept = math.inf if core and core[1] == "unlimited" else float(core[1]) if core else 0.0
    return Limits(found["Max open files"], found["Max file size"], kept)


def core_pattern(proc: Path = PROC) -> str:
    """Where the kernel leaves core dumps; empty where that is not visible."""
    try:
        return (proc / "sys/kernel/core_pattern").read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def user_of(pid: int, proc: Path = PROC) -> int | None:
    """The user that a process runs as; None where that is not visible."""
    try:
        match = re.search(r"^Uid:\s+\d+\s+(\d+)", (proc / str(pid) / "status").read_text("utf-8"), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) if match else None


def memory_of(pid: int | None = None, proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Bytes that a process (default: this one) and its children may use: the minimum of
    the host's memory and the limits of its cgroups.
    """
    found = [limit for limit in (_host_memory(proc), *_group_limits(pid, proc, cgroups)) if limit is not None]
    return min(found, default=None)


def _host_memory(proc: Path) -> int | None:
    try:
        match = re.search(r"^MemTotal: +(\d+) kB", (proc / "meminfo").read_text("ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) << 10 if match else None


def _group_limits(pid: int | None, proc: Path, cgroups: Path) -> list[int | None]:
    """The limits of the cgroups of a process and of their ancestors: version 2, or the
    memory controller of version 1.
    """
    try:
        text = (proc / (str(pid) if pid else "self") / "cgroup").read_text("utf-8")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found += _up_from(cgroups, path, "memory.max")
        elif "memory" in controllers.split(","):
            found += _up_from(cgroups / "memory", path, "memory.limit_in_bytes")
    return found


def _up_from(root: Path, path: str, file: str) -> list[int | None]:
    # A container may see its own group as `/..`.
    below = [part for part in path.split("/") if part not in {"", ".."}]
    return [_number(root.joinpath(*below[:depth], file)) for depth in range(len(below), -1, -1)]


def _number(file: Path) -> int | None:
    try:
        limit = int(file.read_text("ascii"))
    except (OSError, ValueError):  # `max`, or a group that is not visible here
        return None
    return limit if limit < _NO_LIMIT else None


def is_listening(address: str, port: int, proc: Path = PROC) -> bool | None:
    """Whether a process listens at an address. None where /proc does not show it.

    Does not connect: with a socket unit of systemd that would start the service.
    """
    texts = []
    for name in ("tcp", "tcp6"):
        try:
            texts.append((proc / "self/net" / name).read_text("ascii"))
        except OSError:
            continue
    if not texts:
        return None
    asked = _canonical(address)
    anywhere = {"0.0.0.0", "::"}  # noqa: S104
    return any(
        at == port and (host == asked or host in anywhere or asked in anywhere) for host, at in listeners(*texts)
    )


def listeners(*texts: str) -> list[tuple[str, int]]:
    """Address and port of each listening socket in texts like /proc/net/tcp."""
    found = []
    for text in texts:
        for line in text.splitlines()[1:]:
            fields = line.split()
            if len(fields) > 3 and fields[3] == _LISTEN:
                host, _, port = fields[1].partition(":")
                found.append((_address(host), int(port, 16)))
    return found


def _address(shown: str) -> str:
    """The kernel shows each four bytes as a number in the byte order of the machine."""
    words = [int(shown[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(shown), 8)]
    return _canonical(str(ipaddress.ip_address(b"".join(words))))


def _canonical(address: str) -> str:
    try:
        found = ipaddress.ip_address("127.0.0.1" if address == "localhost" else address)
    except ValueError:
        return address
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


class _Timex(ctypes.Structure):
    """The beginning of the kernel's struct timex (man 2 adjtimex), and room for the
    rest.
    """

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def is_clock_synchronised() -> bool | None:
    """The state of the clock according to the kernel; reading it needs no privilege.
    None where the kernel does not report it.
    """
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return state != _TIME_ERROR and not timex.status & _STA_UNSYNC
