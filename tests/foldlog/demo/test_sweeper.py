"""The sweeper removes the directory of a demo once nothing uses it, and no other."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from foldlog.demo.sweeper import PREFIX, main, users_of
from tests.builders.waiting import TIMEOUT_S


def sweeper_of(directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "foldlog.demo.sweeper", str(directory)], stdin=subprocess.PIPE)


def test_directory_stays_until_its_users_have_ended(tmp_path: Path) -> None:
    root = tmp_path / f"{PREFIX}a"
    (root / "data").mkdir(parents=True)
    user = subprocess.Popen([sys.executable, "-c", "input()", f"{root}/foldlog.toml"], stdin=subprocess.PIPE)
    sweeper = sweeper_of(root)
    try:
        assert users_of(str(root)) == [user.pid]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            time.sleep(0.2)  # it has begun to ignore them
            sweeper.send_signal(number)
        assert sweeper.stdin is not None
        sweeper.stdin.close()
        time.sleep(0.3)
        assert root.exists()
        user.communicate(b"\n", timeout=TIMEOUT_S)
        assert sweeper.wait(TIMEOUT_S) == 0
        assert not root.exists()
    finally:
        for process in (user, sweeper):
            process.kill()
            process.wait()


def test_other_directory_is_left_alone(tmp_path: Path) -> None:
    assert main(str(tmp_path)) == 2
    assert tmp_path.exists()
