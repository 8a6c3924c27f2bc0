"""Secrets and neighbours on the host: tokens that change at the same time, damaged
tokens, core dumps, environments, locks; and imports and late events that lie about
time.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.processes import ADMIN_TOKEN, START_S, free_port
from tests.faults.hostile.cost import Attack, Cost, Scene
from tests.faults.hostile.ground import ATTACKER, INGEST_KEY, Ground
from tests.faults.hostile.trial import trial

AT_ONCE, AT_ONCE_QUICK = 10, 5
LINE = '{address} - - [{time}] "GET /{path} HTTP/1.1" 200 1 "-" "Mozilla/5.0 Firefox/130.0"\n'
DAY_MS = 86_400_000


def tokens_at_once(place: Ground, cost: Cost, control: Cost, scene: Scene) -> None:
    """Tokens are made while others are revoked."""
    count = AT_ONCE_QUICK if scene.quick else AT_ONCE
    old = [_created(place) for _ in range(2)]
    control.check(set(old) <= _listed(place), "a token that was made alone is not listed")
    with ThreadPoolExecutor(count + len(old)) as pool:
        made = [pool.submit(_created, place) for _ in range(count)]
        revoked = [pool.submit(place.command, "token", "revoke", id_) for id_ in old]
        new = {each.result() for each in made}
        codes = [each.result().returncode for each in revoked]
    listed = _listed(place)
    cost.requests, control.requests = count + len(old), len(old)
    cost.check(new <= listed, f"{len(new - listed)} new tokens of {count} were lost")
    back = [id_ for id_, code in zip(old, codes, strict=True) if code == 0 and id_ in listed]
    cost.check(not back, f"{len(back)} revoked tokens are valid again")


def _created(place: Ground) -> str:
    """The id of a new token."""
    shown = place.command("token", "create", "--scope", "read").stdout.decode()
    return shown.partition("(id ")[2].partition(",")[0]


def _listed(place: Ground) -> set[str]:
    return set(place.command("token", "list").stdout.decode().split())


def damaged_tokens(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    control.answers = str(place.ask("/admin/api/status")[0])
    control.check(control.answers == "200", "the token of the settings was refused")
    _created(place)
    (file,) = (place.data / "private").glob("tokens.json")
    file.write_bytes(b'{"damaged')
    time.sleep(1.5)
    status, _ = place.ask("/admin/api/status")
    cost.check(status == 200, f"the token of the settings was answered with {status}")
    key = place.post([{"name": "a"}], Authorization=f"Bearer {INGEST_KEY}")
    cost.check(key == 200, f"a key of the settings was answered with {key}")
    status, told = place.ask("/admin/api/status", source=ATTACKER, Authorization="Bearer a-stranger-with-a-guess")
    cost.check(status == 401, f"a stranger was answered with {status}")
    cost.check(str(place.root).encode() not in told and b"tokens.json" not in told, f"a stranger is told {told!r}")
    cost.requests, cost.answers = 3, str(status)
    file.unlink()


def core_dumps(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """A worker that is started with core dumps allowed is ended by a signal that makes
    one.
    """
    data = place.root / "dumped"
    environ = place.environ | {"FOLDLOG_DATA_DIR": str(data), "FOLDLOG_LISTEN": f"127.0.0.1:{free_port()}"}
    cost.said = f"core pattern: {Path('/proc/sys/kernel/core_pattern').read_text('ascii').strip()[:40]}"
    cost.check(not _dumps(place, [*place.checkout.command("ingest")], environ), "a core dump was made")
    sleeping = [place.checkout.python, "-c", "print(flush=True); import time; time.sleep(60)"]
    control.said = "another program's is made" if _dumps(place, sleeping, environ) else "this host makes none at all"


def _dumps(place: Ground, command: list[str], environ: dict[str, str]) -> bool:
    """Whether a program leaves a core dump."""

    def allow() -> None:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    process = subprocess.Popen(
        command,
        cwd=place.root,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=allow,
    )
    _until_awake(environ, process)
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    for core in place.root.rglob("core*"):
        if core.is_file():
            core.unlink()
    return os.WCOREDUMP(status)


def _until_awake(environ: dict[str, str], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    active = Path(environ["FOLDLOG_DATA_DIR"]) / "log"
    needs_log = "foldlog" in process.args  # type: ignore[operator]
    while needs_log and not list(active.glob("active-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)


def environments(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """Secrets in the environment of processes that answer questions."""
    place.ask("/admin/api/report?limit=3")
    readers = []
    for pid in place.processes():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            if b"read" in words and b"serve" not in words:
                readers.append(pid)
                secret = ADMIN_TOKEN.encode() in environ or INGEST_KEY.encode() in environ
                cost.check(not secret, "a reader has the secrets of the settings in its environment")
    control.said = f"{len(readers)} reading processes"
    control.check(bool(readers), "no reading process was found")


def locks(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """Files that are locked, and that others may open to lock them first."""
    for found in Path("/proc/locks").read_text("ascii").splitlines():
        inode = int(found.split()[5].rpartition(":")[2])
        for path in place.data.rglob("*"):
            with suppress(OSError):
                if path.stat().st_ino == inode:
                    control.requests += 1
                    open_to_others = path.stat().st_mode & 0o077
                    reachable = place.data.stat().st_mode & 0o011
                    cost.check(not (open_to_others and reachable), f"{path.name} may be locked by others")
    control.said = f"{control.requests} locked files"
    control.check(control.requests > 0, "nothing is locked")


def world_readable(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """Settings with a token in a file that every user may read."""
    file = place.root / "settings.toml"
    file.write_text(f'admin_token = "{ADMIN_TOKEN}"\n')
    for mode, each in ((0o644, cost), (0o600, control)):
        file.chmod(mode)
        done = place.command("--config", str(file), "doctor", "--json")
        each.said = "said" if b"settings.toml" in done.stdout else "not said"
    cost.check(cost.said == "said", "doctor does not see it")
    control.check(control.said == "not said", "doctor warns of a file that only the owner may read")


def wrong_years(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """An access log with a line of the year 9999 between ordinary ones."""
    now = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    times = [now, "31/Dec/9999:23:59:59 +0000", "31/Dec/9999:23:59:59 -1200", "01/Jan/0001:00:00:00 +1400", now]
    file = place.root / "access.log"
    file.write_text("".join(LINE.format(address="192.0.2.1", time=each, path=n) for n, each in enumerate(times)))
    done = place.command("import", "--site", "example.com", str(file))
    cost.check(done.returncode == 0 and b"Traceback" not in done.stderr, f"import: {done.stderr[-200:]!r}")
    cost.check(place.fold(), "the pass did not end")
    control.check(place.totals()["counted"] == 2, f"{place.totals()['counted']} events are counted, not 2")
    cost.requests, control.requests, cost.said = 3, 2, done.stdout.decode().strip()[:100]


def late_days(place: Ground, cost: Cost, control: Cost, _scene: Scene) -> None:
    """Late events of three days in one batch, without a visitor."""
    now = int(time.time() * 1000)
    place.post([{"name": f"late-{days}", "time": now - days * DAY_MS} for days in range(3)])
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    same = int((midnight - timedelta(hours=12)).timestamp() * 1000)
    place.post([{"name": "same-day", "time": same + n * 1000} for n in range(2)])
    place.fold()
    visitors = {line["name"]: line["visitor"] for line in place.lines()}
    late = {visitors[f"late-{days}"] for days in range(3)}
    cost.check(len(late) == 3, f"{len(late)} hashes for three days")
    same_day = {line["visitor"] for line in place.lines() if line["name"] == "same-day"}
    control.check(len(same_day) == 1, f"{len(same_day)} hashes for one day")
    cost.requests, control.requests, cost.said = 1, 1, f"{len(late)} hashes"


ATTACKS: list[Attack] = [
    trial("wrong-years", "imported lines of the years 9999 and 1", "ordinary lines between them", wrong_years),
    trial("late-days", "late events of three days in one batch", "two of one day", late_days),
    trial("tokens-at-once", "tokens made while others are revoked", "tokens made alone", tokens_at_once),
    trial("damaged-tokens", "tokens.json damaged, and a stranger who asks", "the same before", damaged_tokens),
    trial("core-dumps", "a signal that makes a core dump, where those are allowed", "another program", core_dumps),
    trial("environments", "the environment of reading processes", "that there are some", environments),
    trial("locks", "locked files that other users may open", "that there are some", locks),
    trial("settings-file", "settings that every user may read, and doctor", "readable by the owner", world_readable),
]
