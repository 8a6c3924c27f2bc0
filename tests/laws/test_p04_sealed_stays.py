"""P4: a sealed segment never changes; only retention removes it."""

from __future__ import annotations

from pathlib import Path

from shared.disk.layout import DataDirectory
from tests.builders.command import run_here
from tests.builders.server import Server


def test_sealed_segments_stay_byte_for_byte_through_folds_a_kill_and_a_restart(tmp_path: Path) -> None:
    with Server(tmp_path, segment_max_bytes=64 << 10) as server:
        for number in range(20):
            assert server.post([{"name": "x", "url": "https://example.com/" + "x" * 900}] * 20).status == 200
            if number == 10:
                server.fold()
        before = sealed_files(server.data)
        assert server.post([{"name": "y"}]).status == 200
        assert run_here(["rotate"], server.environ).returncode == 0
        server.fold()
        server.kill()
        server.start()
        assert server.post([{"name": "z"}]).status == 200
        server.fold()
        assert len(before) > 4
        assert sealed_files(server.data).items() >= before.items()


def sealed_files(data: DataDirectory) -> dict[str, tuple[int, int, bytes]]:
    """Inode, time of change and content of each sealed segment and its checksum."""
    files = [path for path in data.log.iterdir() if not path.name.startswith(("active-", "."))]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files}
