"""The whole path on real input: an access log, over HTTP and by import, against counts
made from the file in plain Python.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from compactor.process import compact_once
from ingest.wal.unavailable import Unavailable
from shared.generations.load import load_snapshot
from shared.settings import load as load_settings
from tests.builders.access_logs import import_logs
from tests.builders.disks import small_disk
from tests.builders.logs import data_directory
from tests.builders.server import Server, environment, lines_of, verify
from tests.builders.silent_log import SilentLog

LOG = Path(__file__).parents[2] / "data" / "access.log.gz"
SITE = "www.semicomplete.com"
_LINE = re.compile(r'(\S+) \S+ \S+ \[([^\]]+)\] "(\S+) (\S+)[^"]*" \d+ \S+ "([^"]*)" "(.*)"$')


class Get(NamedTuple):
    """One GET of the access log."""

    address: str
    time: datetime
    target: str
    referrer: str | None
    agent: str


def gets() -> list[Get]:
    """Every GET in the file, taken apart with nothing of Foldlog's."""
    found = []
    with gzip.open(LOG, "rt", encoding="utf-8") as file:
        for line in file:
            match = _LINE.match(line)
            if match is None or match[3] != "GET":
                continue
            time = datetime.strptime(match[2], "%d/%b/%Y:%H:%M:%S %z")
            found.append(Get(match[1], time, match[4], None if match[5] == "-" else match[5], match[6]))
    return found


def path_of(target: str) -> str:
    return re.split(r"[?#]", target)[0]


def referrer_of(referrer: str | None) -> str | None:
    """The host that sent the visitor, None for nobody and for the site itself."""
    if referrer is None or not referrer.startswith(("http://", "https://")):
        return None
    host = urlsplit(referrer).netloc.rpartition("@")[2].partition(":")[0].lower()
    return None if host.removeprefix("www.") == SITE.removeprefix("www.") else host or None


@pytest.fixture(scope="module")
def real() -> list[Get]:
    found = gets()
    assert len(found) > 9000
    return found


def rows(server: Server, **asked: str) -> dict[Any, tuple[int, int]]:
    """value or time → (events, visitors), bots included, nothing cut off."""
    query = {"limit": "10000", "bots": "include", **asked}
    answer = server.get("/admin/api/report", **query).json()
    return {row.get("value", row.get("time")): (row["events"], row["visitors"]) for row in answer["rows"]}


def expected(found: list[Get], key: Any, visitor: Any) -> dict[Any, tuple[int, int]]:
    events = Counter(key(get) for get in found)
    visitors = defaultdict(set)
    for get in found:
        visitors[key(get)].add(visitor(get))
    return {value: (count, len(visitors[value])) for value, count in events.items()}


@pytest.mark.long
def test_every_get_posted_is_counted_exactly(tmp_path: Path, real: list[Get]) -> None:
    """Posted with their order as ids; the time is that of sending, for events of 2015
    are too late to be posted.
    """
    with Server(tmp_path, max_body_bytes=1 << 20, sites=SITE) as server:
        for start in range(0, len(real), 500):
            batch = [
                {
                    "name": "pageview",
                    "id": f"get-{start + number:08d}",
                    "visitor": get.address,
                    "url": f"http://{SITE}{get.target}",
                    **({"referrer": get.referrer} if get.referrer and get.referrer.startswith("http") else {}),
                }
                for number, get in enumerate(real[start : start + 500])
            ]
            answer = server.post(batch, headers={"Origin": f"https://{SITE}"})
            assert answer.json() == {"accepted": len(batch), "rejected": []}
        server.fold()
        assert rows(server, by="path") == expected(real, lambda get: path_of(get.target), lambda get: get.address)
        assert rows(server, by="referrer") == expected(real, lambda g: referrer_of(g.referrer), lambda g: g.address)
        total = server.get("/admin/api/report", bots="include").json()["total"]
        assert total == {"events": len(real), "visitors": len({get.address for get in real})}


@pytest.mark.long
def test_imported_file_has_its_real_times_and_counts_once(tmp_path: Path, real: list[Get]) -> None:
    with Server(tmp_path) as server:
        printed = [run_import(server) for _ in range(2)]
        assert printed[0] == printed[1]
        assert f"{len(real)} events appended" in printed[0]
        server.fold()
        span = {"from": "2015-05-17", "to": "2015-05-20"}

        def one(get: Get) -> tuple[str, str]:
            return get.address, get.agent

        def day(get: Get) -> str:
            return get.time.astimezone(UTC).strftime("%Y-%m-%dT00:00:00+00:00")

        assert rows(server, interval="day", **span) == expected(real, day, one)
        assert rows(server, by="path", **span) == {
            path: (events, visitors) for path, (events, visitors) in by_day_visitors(real, path_of).items()
        }
        totals = load_snapshot(server.data).totals
        assert (totals.counted, totals.duplicates, totals.conflicts) == (len(real), len(real), 0)


def test_import_leaves_the_reserve_to_the_server_and_goes_on_once_there_is_room(
    tmp_path: Path, real: list[Get]
) -> None:
    many = tmp_path / "access.log"  # several blocks
    many.write_bytes(gzip.decompress(LOG.read_bytes()) * 10)
    with small_disk(tmp_path / "disk", "128m") as disk:
        data, ballast = data_directory(disk / "data"), disk / "ballast"
        settings = load_settings(environment(data.root, disk_reserve=8 << 20))
        calls = itertools.count()

        def fill(_position: int) -> None:
            if next(calls) == 3:  # the first block is appended, because the fourth is begun
                ballast.write_bytes(bytes(shutil.disk_usage(disk).free - (4 << 20)))

        with pytest.raises(
            Unavailable, match=r"nearly full: .* FOLDLOG_DISK_RESERVE is 8,388,608\. [1-9][\d,]+ events were appended"
        ):
            import_logs(data, many, site=SITE, settings=settings, progress=fill)
        assert 0 < len(lines_of(data)) < 10 * len(real)
        ballast.unlink()
        import_logs(data, many, site=SITE, settings=settings)
        compact_once(data, settings, SilentLog())
        assert load_snapshot(data).totals.counted == 10 * len(real)


def by_day_visitors(found: list[Get], path: Any) -> dict[str, tuple[int, int]]:
    """Imported visitors are hashed per day: one person on two days is two."""
    return expected(
        found, lambda get: path(get.target), lambda get: (get.time.astimezone(UTC).date(), get.address, get.agent)
    )


def run_import(server: Server) -> str:
    command = [sys.executable, "-m", "foldlog", "import", "--format", "combined", "--site", SITE, str(LOG)]
    done = subprocess.run(command, env=server.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_no_address_is_kept_of_an_import(tmp_path: Path, real: list[Get]) -> None:
    with Server(tmp_path) as server:
        run_import(server)
        server.fold()
        server.stop()
        addresses = [get.address.encode() for get in real]
        content = b"".join(path.read_bytes() for path in server.data.log.glob("*.ndjson"))
        assert not [address for address in set(addresses) if b'"' + address + b'"' in content]
        assert json.loads(content.splitlines()[0])["consent"] == "imported"
        verify(server.data, server.environ)
