"""How much of the log a pass takes."""

from __future__ import annotations

import random
from pathlib import Path

from compactor.fold.select_segments import PASS_MAX_BYTES, pass_max_bytes
from compactor.process import compact_once
from ingest.collect.encode import Line
from shared.generations.load import load_snapshot
from shared.segments.sealed import sealed_segments
from shared.settings import Settings
from tests.builders.compressed import zstd
from tests.builders.logs import data_directory, line, sealed
from tests.builders.silent_log import SilentLog

MIB = 1 << 20


def test_least_memory_takes_two_segments_that_were_sealed_when_full() -> None:
    assert 2 * 65 * MIB < pass_max_bytes(256 * MIB) < 3 * 64 * MIB
    assert pass_max_bytes(1 << 40) == PASS_MAX_BYTES


def incompressible(count: int, seed: int) -> list[Line]:
    """Lines of 60,000 bytes, half of it after a compression."""
    pick = random.Random(seed)
    texts = ({f"p{each}": pick.randbytes(1000).hex() for each in range(30)} for _ in range(count))
    return [line(f"{seed:08d}-{number}", props=props) for number, props in enumerate(texts)]


def test_round_takes_as_much_as_fits_into_the_memory(tmp_path: Path) -> None:
    for memory, passes in ((256 * MIB, 2), (1024 * MIB, 1)):
        data = data_directory(tmp_path / str(memory))
        for seed in range(2):
            sealed(data, incompressible(320, seed))
        for segment in sealed_segments(data):
            # Counts ten times its bytes.
            segment.path.with_name(segment.name.compressed(".zst")).write_bytes(zstd(segment.path.read_bytes()))
            segment.path.unlink()
        counted = sum(segment.plain_bytes for segment in sealed_segments(data))
        assert pass_max_bytes(256 * MIB) < counted < PASS_MAX_BYTES
        compact_once(data, Settings(data_dir=data.root, fold_memory=memory), SilentLog())
        snapshot = load_snapshot(data)
        assert (snapshot.generation, snapshot.totals.counted) == (passes, 640)
