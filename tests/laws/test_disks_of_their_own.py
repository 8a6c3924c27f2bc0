"""`log/` on a disk of its own: its room decides, not that of the data directory (P10);
and a disk that is full ends a command with one sentence.
"""

from __future__ import annotations

from pathlib import Path

from shared.disk.room import least_room
from shared.status import read_status
from tests.builders.disks import fill, small_disk
from tests.builders.logs import data_directory, line, sealed
from tests.builders.server import environment, run_foldlog
from tests.builders.wire import page
from tests.builders.worker import Worker


def test_room_of_the_log_decides(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with small_disk(tmp_path / "data" / "log", "2m"), Worker(tmp_path, disk_reserve="4 MiB") as worker:
        assert least_room(worker.data).directory == worker.data.log
        refused = worker.exchange(page())
        assert (refused.status, refused.json()["code"]) == (507, "disk_reserve")
        ready = worker.get("/readyz")
        assert ready.status == 503
        assert [each["name"] for each in ready.json()["checks"] if not each["ok"]] == ["disk"]
        assert read_status(worker.data, worker.settings).disk.free_bytes <= 2 << 20


def test_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "24m") as disk:
        data = data_directory(disk)
        sealed(data, [line(f"event-{number}", url=f"https://example.com/{number:0500}") for number in range(2000)])
        fill(disk / "ballast", 1 << 14)
        done = run_foldlog(["compact", "--once"], environment(data.root))
        assert (done.returncode, done.stdout) == (75, "")
        assert "Traceback" not in done.stderr
        (disk / "ballast").unlink()
        assert run_foldlog(["compact", "--once"], environment(data.root)).returncode == 0
