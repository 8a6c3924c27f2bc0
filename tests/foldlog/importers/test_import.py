"""`foldlog import`: what becomes an event, what is said of the rest, and what happens
with pipes, damage and holes.
"""

from __future__ import annotations

import gzip
import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from foldlog.importers import blocks
from foldlog.importers.block_parser import Rules
from foldlog.importers.blocks import LINE_MAX_BYTES
from foldlog.importers.import_log import DamagedInput
from foldlog.importers.outcome import OWN_TRAFFIC, TOO_LONG, summary
from foldlog.importers.site_choice import SiteChoice
from ingest.collect.own_traffic import OwnTraffic
from ingest.wal.unavailable import Unavailable
from shared.settings import Settings, SettingsError
from shared.timestamps import epoch_ms
from tests.builders.access_logs import SITE, combined, counted, events_of, import_logs, take_apart, written
from tests.builders.command import run_here
from tests.builders.disks import scratch_directory, small_disk
from tests.builders.logs import data_directory
from tests.builders.server import environment
from tests.builders.waiting import until

NOON = epoch_ms("2026-11-22T12:00:00Z")
DAY_MS = 86_400_000
USER = 12345
PATHS = {
    r"/caf\xC3\xA9": "/caf%C3%A9",
    r"/caf\xc3\xa9": "/caf%C3%A9",
    "/caf%C3%A9": "/caf%C3%A9",
    "/café": "/caf%C3%A9",
    r"/caf\xe9": "/caf%E9",
    r"/a?utm_source=\x22x\x22": '/a?utm_source="x"',
    r"/a\"b": '/a"b',
    r"/a\\b": "/a\\b",
    "/docs/annual report.pdf": "/docs/annual report.pdf",
    "https://example.com/abs": "/abs",
    "http://example.com": "/",
    "HTTP://EXAMPLE.COM:80?a=b": "/?a=b",
    "//two//slashes": "//two//slashes",
    r"/\x00\x1b[2J": "/%00%1B[2J",
}
OTHER_REQUESTS = ("POST / HTTP/1.1", "HEAD / HTTP/1.1", "-", "", r"\x16\x03\x01", "GET", "OPTIONS * HTTP/1.1",
                  "CONNECT example.com:443 HTTP/1.1", "GET ftp://example.com/ HTTP/1.1")  # fmt: skip
TIMES = {
    "22/Nov/2026:12:00:00 +0000": 0,
    "23/Nov/2026:12:00:00 +0000": 0,
    "24/Nov/2026:02:00:00 +1400": 0,
    "23/Nov/2026:00:00:00 -1200": 0,
    "01/Jan/1970:00:00:00 +0000": 0,
    "23/Nov/2026:12:00:01 +0000": 3,
    "23/Nov/2026:11:30:00 -0031": 3,
    "22/Nov/2027:12:00:00 +0000": 3,
    "31/Dec/9999:23:59:59 +0000": 3,
    "31/Dec/9999:23:59:59 -2359": 3,
    "31/Dec/1969:23:59:59 +0000": 2,
    "01/Jan/1970:00:30:00 +0100": 2,
    "01/Jan/0001:00:00:00 +2359": 2,
    "31/Feb/2026:00:00:00 +0000": 1,
}
TYPES = {
    "/": "page",
    "/a.html": "page",
    "/a.b/c": "page",
    "/index.php?x=1.png": "page",
    "/a.pdf": "document",
    "/a.PNG?v=2": "image",
    "/favicon.ico": "image",
    "/site.css": "style",
    "/app.js": "script",
    "/x.woff2": "font",
    "/feed/": "feed",
    "/blog/rss.xml": "feed",
    "/a.rss": "feed",
    "/healthz": "probe",
    "/x.mp4": "media",
    "/x.zip": "download",
    "/sitemap.xml": "data",
}
HOSTS = ("example.com:443", "www.example.com:443", "EXAMPLE.com:80", "shop.example.net:443", "198.51.100.1:80")
VHOSTS = [f"{host} {combined(f'203.0.113.{n}', f'GET /{n} HTTP/1.1')}" for n, host in enumerate(HOSTS, start=1)]


def test_path_is_spelled_as_an_event_has_it() -> None:
    text = "\n".join(combined(request=f"GET {path} HTTP/1.1") for path in PATHS)
    urls = [event["url"] for event in take_apart(text).events]
    assert urls == [f"https://example.com{path}" for path in PATHS.values()]


def test_escapes_of_agent_and_referrer_are_undone() -> None:
    text = combined(referrer=r"https://b\xc3\xbccher.example/", agent=r"Agent\"\x22\xff/1")
    (event,) = take_apart(text).events
    assert (event["referrer"], event["ua"]) == ("https://bücher.example/", 'Agent""\ufffd/1')


def test_app_is_a_referrer_and_other_text_is_none() -> None:
    text = "\n".join(combined(referrer=each) for each in ("android-app://com.example/", "about:blank", "-", "", "x"))
    assert [event.get("referrer") for event in take_apart(text).events] == ["android-app://com.example/", *[None] * 4]


def test_other_request_is_understood_and_no_event() -> None:
    taken = take_apart("\n".join(combined(request=each) for each in OTHER_REQUESTS))
    assert (taken.events, taken.counts[4], taken.counts[1]) == ([], len(OTHER_REQUESTS), 0)


def test_time_up_to_tomorrow_is_accepted() -> None:
    rules = Rules(SiteChoice(SITE, ()), NOON + DAY_MS, ZoneInfo("UTC"))
    found = {time: take_apart(combined(time=time), "combined", rules).counts for time in TIMES if TIMES[time] != 1}
    assert {time: counts.index(1) for time, counts in found.items()} == {
        time: why for time, why in TIMES.items() if why != 1
    }


def test_type_is_a_property() -> None:
    text = "\n".join(combined(request=f"GET {path} HTTP/1.1") for path in TYPES)
    assert [event["props"]["type"] for event in take_apart(text).events] == list(TYPES.values())
    (event,) = take_apart(combined(agent="kube-probe/1.30", status=503)).events
    assert event["props"] == {"status": 503, "type": "probe"}


def test_pages_only_and_not_found() -> None:
    statuses = (200, 206, 304, 301, 404, 410, 403, 500)
    text = "\n".join(combined(request=f"GET {path} HTTP/1.1", status=each) for each in statuses for path in TYPES)
    pages = Rules(SiteChoice(SITE, ()), 10**13, ZoneInfo("UTC"), pages_only=True)
    found = take_apart(text, rules=pages)
    assert {event["props"]["status"] for event in found.events} == {200, 206, 304}
    assert {event["props"]["type"] for event in found.events} == {"page", "document"}
    assert len(found.events) == 3 * 5
    both = take_apart(text, rules=Rules(SiteChoice(SITE, ()), 10**13, ZoneInfo("UTC"), pages_only=True, not_found=True))
    names = [(event["name"], event["props"]["status"]) for event in both.events]
    assert names.count(("not_found", 404)) == names.count(("not_found", 410)) == 5
    assert len(names) == 5 * 5
    all_ = take_apart(text)
    assert {event["name"] for event in all_.events} == {"pageview"}
    assert len(all_.events) == len(statuses) * len(TYPES)


@pytest.mark.parametrize(
    ("options", "sites"),
    [
        ({"site": "example.com"}, [SITE] * 3),
        ({"site": "www.example.com"}, ["www.example.com"] * 3),
        ({"site": "example.com", "other_hosts": "count"}, [SITE] * 5),
        ({"site": "example.com", "other_hosts": "keep"}, [SITE] * 3 + ["shop.example.net", "198.51.100.1"]),
        ({"site": None}, [SITE, "www.example.com", SITE, "shop.example.net", "198.51.100.1"]),
        ({"site": None, "sites": ("example.com", "shop.example.net")}, [SITE] * 3 + ["shop.example.net"]),
    ],
)
def test_host_of_a_line_is_its_site(options: dict[str, object], sites: list[str], tmp_path: Path) -> None:
    done = import_logs(tmp_path, written(tmp_path / "vhosts.log", VHOSTS), **options)  # type: ignore[arg-type]
    events = events_of(tmp_path)
    assert [event["site"] for event in events] == sites
    assert len({event["visitor"] for event in events}) == len(sites)
    assert done.count(5) == 5 - len(sites)


def test_log_without_hosts_needs_a_site(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--site"):
        import_logs(tmp_path, written(tmp_path / "a.log", [combined()]), site=None)


def test_addresses_of_one_network_are_one_visitor() -> None:
    text = "\n".join(combined(f"2001:db8:0:1::{n:x}") for n in range(5))
    assert len({event["visitor"] for event in take_apart(text).events}) == 1
    assert len({event["visitor"] for event in take_apart(f"{text}\n{combined('2001:db8:0:2::1')}").events}) == 2


def test_visitor_behind_a_proxy_if_the_operator_says_so() -> None:
    text = "\n".join(f'{combined("10.0.0.1")} "{each}"' for each in ("203.0.113.5, 10.0.0.9", "203.0.113.6", "-"))
    assert len({event["visitor"] for event in take_apart(text).events}) == 1
    rules = Rules(SiteChoice(SITE, ()), 10**13, ZoneInfo("UTC"), forwarded=True)
    assert len({event["visitor"] for event in take_apart(text, rules=rules).events}) == 3


NETWORKS = [ip_network(each) for each in ("192.0.2.7/32", "198.51.100.0/24", "2001:db8:7::1/128")]
OWN = ("192.0.2.7", "198.51.100.200", "2001:db8:7::1", "::ffff:192.0.2.7", "64:ff9b::c633:6401", "192.0.2.7, 10.0.0.1")
OTHERS = ("192.0.2.8", "2001:db8:7::2", "203.0.113.7")


def test_own_traffic_is_left_out_and_counted(tmp_path: Path) -> None:
    lines = [combined(each) for each in (*OWN, *OTHERS)]
    own_traffic = OwnTraffic(NETWORKS)
    done = import_logs(tmp_path, written(tmp_path / "a.log", lines), own_traffic=own_traffic)
    assert (done.events, done.count(OWN_TRAFFIC)) == (len(OTHERS), len(OWN))
    text = summary(done)
    assert text[0].endswith(f"0 rejected, {len(OWN)} left out")
    assert f"  {len(OWN)} of FOLDLOG_EXCLUDE_NETWORKS, first " in text[1] and "192.0.2" not in text[1]
    forwarded = written(tmp_path / "b.log", [f'{combined("10.0.0.1")} "{each}"' for each in (OWN[0], OTHERS[0])])
    assert import_logs(tmp_path, forwarded, own_traffic=own_traffic, forwarded=True).events == 1


def test_command_leaves_own_traffic_out(tmp_path: Path) -> None:
    file = written(tmp_path / "a.log", [combined("192.0.2.7"), combined("192.0.2.8")])
    environ = environment(tmp_path / "data", disk_reserve=0, exclude_networks="192.0.2.7")
    done = run_here(["import", "--site", SITE, str(file)], environ)
    assert done.stdout.startswith("2 lines: 1 events appended, 0 other requests, 0 rejected, 1 left out\n")


def test_ipv4_clients_behind_a_translator_are_as_many_visitors() -> None:
    text = "\n".join(combined(each) for each in ("64:ff9b::203.0.113.7", "64:ff9b::cb00:7108", "203.0.113.8"))
    visitors = [event["visitor"] for event in take_apart(text).events]
    assert visitors[0] != visitors[1] == visitors[2]


@pytest.mark.parametrize("directory", ["log", "private"])
def test_room_of_each_directory_is_looked_at(directory: str, tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data")
    target = data.root / directory
    if target.is_dir():
        target.rmdir()
    file = written(tmp_path / "a.log", [combined()])
    settings = Settings(data_dir=data.root, disk_reserve=4 << 20)
    with small_disk(target, "2m"):
        with pytest.raises(Unavailable, match=f"the disk of {target} is nearly full: .* 0 events were appended"):
            import_logs(data, file, settings=settings)
        assert list(target.iterdir()) == []
    import_logs(data, file, settings=settings)
    assert counted(data) == 1


def other_users_can_run_python() -> bool:
    try:
        tried = subprocess.run([sys.executable, "-c", ""], user=USER, group=USER, extra_groups=[], cwd="/", check=False)
    except PermissionError:
        return False
    return tried.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_log_that_the_service_user_cannot_read_comes_through_a_pipe() -> None:
    """As docs/import.md says: `sudo cat … | sudo -u foldlog foldlog import -`."""
    if not other_users_can_run_python():
        pytest.skip("this Python is in a directory of root's own")
    with scratch_directory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        file = written(root / "access.log", [combined()])
        file.chmod(0o640)
        data = root / "data"
        data.mkdir()
        os.chown(data, USER, USER)

        def imported(name: str) -> subprocess.CompletedProcess[bytes]:
            command = [sys.executable, "-m", "foldlog", "import", "--site", SITE, name]
            with file.open("rb") as log, subprocess.Popen(["cat"], stdin=log, stdout=subprocess.PIPE) as cat:  # noqa: S607
                return subprocess.run(
                    command, stdin=cat.stdout, env=environment(data, disk_reserve=0), cwd="/", capture_output=True,
                    user=USER, group=USER, extra_groups=[], check=False, timeout=60,
                )  # fmt: skip

        refused = imported(str(file))
        assert refused.returncode == 75 and b"Permission denied" in refused.stderr, refused.stderr
        piped = imported("-")
        assert piped.returncode == 0, piped.stderr
        assert counted(root) == 1
        assert all(path.stat().st_uid == USER for path in data.rglob("*"))


def test_summary_says_each_reason_with_its_first_line_without_addresses(tmp_path: Path) -> None:
    lines = [
        combined("203.0.113.9"),
        "203.0.113.9 what is this 2001:db8::5\x1b[2J",
        combined(time="31/Dec/9999:23:59:59 +0000"),
        combined(time="01/Jan/1960:00:00:00 +0000"),
        combined(request="POST / HTTP/1.1"),
        "nor this",
        "",
        "# a comment",
    ]
    file = written(tmp_path / "a.log", lines)
    text = summary(import_logs(tmp_path, file))
    assert text[0] == "8 lines: 1 events appended, 1 other requests, 4 rejected"
    assert text[1] == f"  2 not understood, first {file} line 2: [address] what is this [address]\\u001b[2J"
    assert text[2].startswith("  1 dated before 1970, first ")
    assert text[3].startswith("  1 dated beyond tomorrow, first ")


def test_hole_of_zeros_and_a_byte_order_mark_cost_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    with file.open("wb") as hole:
        hole.write(b"\xef\xbb\xbf" + combined().encode() + b"\n")
        hole.seek(300 << 20, os.SEEK_CUR)
        hole.write(combined("198.51.100.8").encode() + b"\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert import_logs(tmp_path, file).events == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_line_without_an_end_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    long = " [" * (4 * LINE_MAX_BYTES)
    file.write_text(f"{combined()}\n{long}\n{combined('198.51.100.8')}\n")
    done = import_logs(tmp_path, file)
    assert (done.lines, done.events) == (3, 2)
    assert done.reasons[TOO_LONG].first == 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "garbage"])
def test_what_can_be_read_of_a_damaged_file_is_appended(damage: str, tmp_path: Path) -> None:
    lines = [combined(f"198.51.{n % 250}.{n // 250}", f"GET /{n * 7919 % 5000} HTTP/1.1") for n in range(5000)]
    content = gzip.compress("".join(f"{each}\n" for each in lines).encode())
    middle = len(content) // 2
    broken = {
        "truncated": content[:middle],
        "flipped": content[:middle] + bytes([content[middle] ^ 255]) * 40 + content[middle + 40 :],
        "garbage": content + b"something else",
    }[damage]
    file = tmp_path / "a.log.gz"
    file.write_bytes(broken)
    with pytest.raises(DamagedInput, match=r"a\.log\.gz: the compressed data is .*; [\d,]+ lines of it could be read"):
        import_logs(tmp_path, file)
    assert counted(tmp_path) > 1000
    if damage != "flipped":  # which may have made other requests of some
        file.write_bytes(content)
        import_logs(tmp_path, file)
        assert counted(tmp_path) == 5000


def test_lines_that_come_slowly_are_appended_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory would grow with the log until its end."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 18)
    data = data_directory(tmp_path / "data")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    appended: list[int] = []

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for number in range(8):
                file.write("".join(f"{combined(request=f'GET /{number}/{n}')}\n" for n in range(1600)).encode())
                time.sleep(0.5)
            with suppress(AssertionError):
                until(lambda: any(path.stat().st_size for path in data.log.iterdir()), timeout_s=20)
            appended.append(sum(path.stat().st_size for path in data.log.iterdir()))

    writer = threading.Thread(target=write)
    writer.start()
    import_logs(data, pipe)
    writer.join()
    assert appended[0] > 0
    assert counted(data) == 8 * 1600


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_here(["import", *arguments], environment(tmp_path / "data", disk_reserve=0))


def test_command_says_what_it_did_not_understand_and_ends_with_1(tmp_path: Path) -> None:
    file = written(tmp_path / "a.log", ["203.0.113.9 what", "is this"])
    done = run(tmp_path, "--site", SITE, str(file))
    assert done.returncode == 1
    assert "[address] what" in done.stderr and "203.0.113.9" not in done.stdout + done.stderr
    assert f"{file} line 1" in done.stderr
    assert "combined, common, vhost_combined" in done.stderr
    empty = written(tmp_path / "empty.log", [])
    assert run(tmp_path, "--site", SITE, str(empty)).returncode == 0


def test_dry_run_strict_and_globs(tmp_path: Path) -> None:
    for name in ("access.log", "access.log.1"):
        written(tmp_path / name, [combined(), "what"])
    pattern = str(tmp_path / "access.log*")
    dry = run(tmp_path, "--dry-run", "--site", SITE, pattern)
    assert dry.returncode == 0
    assert "4 lines: 2 events would be appended" in dry.stdout
    assert not (tmp_path / "data").exists()
    assert run(tmp_path, "--strict", "--site", SITE, pattern).returncode == 1
    assert run(tmp_path, "--site", SITE, pattern).returncode == 0
    assert run(tmp_path, "--format", "apache", pattern).returncode == 2
    assert run(tmp_path, "--format", "$remote_addr", pattern).returncode == 2
    assert run(tmp_path, str(tmp_path)).returncode == 2
    assert run(tmp_path, str(tmp_path / "other*")).returncode == 2


@pytest.mark.parametrize("how", ["-", "/dev/stdin", "<(cat)"])
def test_pipes(how: str, tmp_path: Path) -> None:
    file = tmp_path / "access.log.1"
    file.write_bytes(gzip.compress("".join(f"{each}\n" for each in VHOSTS).encode()))
    command = f"{sys.executable} -m foldlog import "
    command += f"<(cat {file})" if how == "<(cat)" else f"{how} < <(cat {file})"
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        env=environment(tmp_path / "data", disk_reserve=0),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert counted(tmp_path) == 5
