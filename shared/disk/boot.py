"""Which start of the host this is: what a process noted before another one is void."""

from __future__ import annotations

from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Empty where the kernel does not tell: then nothing is trusted."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""
