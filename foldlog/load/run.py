"""`foldlog bench`: load a running server in an open loop, then fold and compare what
was acknowledged with what is counted.
"""

from __future__ import annotations

import http.client
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import orjson

from foldlog.load import EVENT_NAME
from foldlog.load.generator import AGENT, Outcome, Plan
from shared.disk.layout import DataDirectory
from shared.exit_codes import TemporaryFailure
from shared.settings import Settings, SettingsError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SAMPLE_S = 1.0
STOP_S = 60.0
# The server waits 10 s for its writers and 120 s for the compactor before it gives up.
FOLD_S = 150.0

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class BenchError(TemporaryFailure):
    """The load could not be made, or nobody answered."""


class Target(msgspec.Struct, kw_only=True, frozen=True):
    """A server on this host. `headers` are whole lines and let it take events, `token`
    lets it read and fold.

    `server_pid` is that of `foldlog serve`: it and what it started are sampled.
    """

    host: str
    port: int
    headers: str
    token: str | None = None
    server_pid: int | None = None

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class Use(msgspec.Struct):
    """What one process of the server used: seconds since the first sample, resident
    MiB, CPU seconds, a sample each.
    """

    name: str
    pid: int
    at_s: list[float] = []
    rss_mib: list[float] = []
    cpu_s: list[float] = []

    @property
    def cpu_used_s(self) -> float:
        return self.cpu_s[-1] - self.cpu_s[0]


class Result(msgspec.Struct, kw_only=True):
    """A run. `counted` events are those that the server counts more than before, None
    where it did not let itself be asked.
    """

    outcome: Outcome
    events: int
    counted: int | None
    uses: list[Use]

    @property
    def is_lossy(self) -> bool:
        """Whether an acknowledged event is not counted, or one is that was never
        sent.
        """
        if self.counted is None:
            return False
        most = self.outcome.acknowledged + self.outcome.unanswered * self.events
        return not self.outcome.acknowledged <= self.counted <= most

    @property
    def refused(self) -> int:
        """Requests that were not answered with 200 or 202, or not at all."""
        stored = sum(self.outcome.statuses.get(status, 0) for status in ("200", "202"))
        return self.outcome.requests - stored


def make_target(url: str | None, key: str | None, origin: str | None, settings: Settings) -> Target:
    """Whom to load, and as whom: with a key, or as a page of `origin`. Raises
    SettingsError.
    """
    found = urlsplit(url or settings.dashboard)
    if found.scheme != "http" or found.hostname not in LOOPBACK:
        raise SettingsError(
            f"{url or settings.dashboard}: `foldlog bench` loads http servers on this host only ({LOOPBACK[0]})"
        )
    address = (found.hostname, found.port or 80)
    own = [settings.admin_token, *settings.ingest_keys]
    key = key or next((secret for secret in own if secret), None)
    if not key and not origin:
        raise SettingsError("say as whom to write: --key-file with a key, or --origin with the origin of a page")
    said = f"Origin: {origin}\r\n" if origin else f"Authorization: Bearer {key}\r\n"
    head = f"Host: {found.netloc}\r\nUser-Agent: {AGENT}\r\nAccept-Language: de-DE,de;q=0.9\r\n{said}"
    pid = server_pid(DataDirectory(settings.data_dir)) if url is None else None
    return Target(host=address[0], port=address[1], headers=head, token=settings.admin_token or key, server_pid=pid)


def server_pid(data: DataDirectory) -> int | None:
    """The process of the `foldlog serve` that serves a directory; None if none does."""
    try:
        found = re.match(r"process (\d+) since", data.serve_lock.read_text("utf-8"))
        return int(found[1]) if found and b"serve" in Path(f"/proc/{found[1]}/cmdline").read_bytes() else None
    except OSError:
        return None


def make_plan(target: Target, rates: list[float], seconds: float, **options: Any) -> Plan:
    """A plan for that server, with ids that no other run has."""
    return Plan(
        host=target.host,
        port=target.port,
        headers=target.headers,
        site=target.url,
        rates=rates,
        seconds=seconds,
        run=secrets.token_hex(4),
        **options,
    )


def run(target: Target, plan: Plan, before_fold: Callable[[], None] = lambda: None) -> Result:
    """Load, fold, compare. `before_fold` is called when the last answer is there.
    Raises BenchError.
    """
    before = fold_and_count(target)
    with sampling(target.server_pid) as uses:
        outcome = generate(plan)
    before_fold()
    after = None if before is None else fold_and_count(target)
    counted = None if before is None or after is None else after - before
    return Result(outcome=outcome, events=plan.events, counted=counted, uses=list(uses.values()))


def generate(plan: Plan) -> Outcome:
    """Run the plan in a process of its own. Raises BenchError."""
    command = [sys.executable, "-m", "foldlog.load.generator"]
    limit_s = plan.warm_up_s + plan.seconds + plan.answer_s + STOP_S
    try:
        done = subprocess.run(
            command, input=msgspec.json.encode(plan), capture_output=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"the load generator did not end in {limit_s:.0f} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise BenchError(f"the load generator failed: {said[-1] if said else done.returncode}")
    return msgspec.json.Decoder(Outcome).decode(done.stdout)


def ask(target: Target, method: str, path: str, timeout_s: float = FOLD_S) -> tuple[int, bytes]:
    """One request with the token: status and body. Raises BenchError when there is no
    answer.
    """
    connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout_s)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {target.token}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{target.url} does not answer: {error!r}") from None
    finally:
        connection.close()


def fold_and_count(target: Target) -> int | None:
    """How many events of benchmarks there are, all that were accepted before included;
    None when the token may not ask.

    Raises BenchError when the fold failed.
    """
    if _allowed(target, "POST", "/admin/api/fold") is None:
        return None
    today = datetime.now(UTC).date()
    asked = {"event": EVENT_NAME, "bots": "include", "tz": "UTC"}
    asked |= {"from": str(today - timedelta(days=1)), "to": str(today + timedelta(days=1))}
    content = _allowed(target, "GET", f"/admin/api/report?{urlencode(asked)}")
    return None if content is None else int(orjson.loads(content)["total"]["events"])


def _allowed(target: Target, method: str, path: str) -> bytes | None:
    if target.token is None:
        return None
    status, content = ask(target, method, path)
    if status in {401, 403}:
        return None
    if status != 200:
        raise BenchError(
            f"{method} {path.partition('?')[0]} was answered with {status}: {content[:300].decode('utf-8', 'replace')}"
        )
    return content


@contextmanager
def sampling(root: int | None) -> Iterator[dict[int, Use]]:
    """Sample a process and all below it once a second, while the block runs."""
    uses: dict[int, Use] = {}
    if root is None:
        yield uses
        return
    ended = threading.Event()
    started = time.monotonic()

    def sample() -> None:
        while True:
            for pid in family(root):
                _add_sample(uses, pid, time.monotonic() - started)
            if ended.wait(SAMPLE_S):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield uses
    finally:
        ended.set()
        thread.join()
        for pid in family(root):
            _add_sample(uses, pid, time.monotonic() - started)


def _add_sample(uses: dict[int, Use], pid: int, at_s: float) -> None:
    try:
        name, _, cpu_s = _stat(pid)
        rss = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE_MIB
        if pid not in uses:
            uses[pid] = Use(_name(pid) or name, pid, [], [], [])
    except (OSError, ValueError, IndexError):
        return  # it has ended
    use = uses[pid]
    use.at_s.append(round(at_s, 2))
    use.rss_mib.append(round(rss, 1))
    use.cpu_s.append(cpu_s)


def family(root: int) -> list[int]:
    """A process and all processes below it."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                parents[int(entry)] = _stat(int(entry))[1]
            except (OSError, ValueError):
                continue
    found = [root] if root in parents else []
    for parent in found:
        found += [pid for pid, its in parents.items() if its == parent]
    return found


def _stat(pid: int) -> tuple[str, int, float]:
    """Name, parent and CPU seconds of a process. Raises OSError when it has ended."""
    name, _, rest = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")
    fields = rest.split()
    return name.partition("(")[2], int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS


def _name(pid: int) -> str:
    """What a process of Foldlog is: `serve`, `ingest 0`, `compact`,
    `reader_process`.
    """
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    for role in ("serve", "ingest", "compact"):
        if role in words:
            return f"{role} {words[words.index('--writer') + 1]}" if "--writer" in words else role
    return next((word.rpartition(".")[2] for word in words if word.startswith("ingest.")), "")


def summary(plan: Plan, result: Result) -> Iterator[tuple[str, str]]:
    """The result in words: what, and how much."""
    outcome = result.outcome
    yield "requests, events in each", f"{outcome.requests:,}, {plan.events}"
    yield "rate: mean, highest", f"{sum(plan.rates) / len(plan.rates):,.0f}/s, {max(plan.rates):,.0f}/s"
    yield "latency from when it was due, ms", _numbers(outcome.latency)
    if len(plan.rates) > 1:
        busiest = max(outcome.slices, key=lambda each: each.rate)
        yield "  in the busiest slice, ms", f"p50 {busiest.p50}, p99 {busiest.p99}, max {busiest.max}"
    yield "answers by status", _numbers(outcome.statuses)
    if outcome.codes:
        yield "  refusals by code", _numbers(outcome.codes)
    yield "  no answer", f"{outcome.unanswered:,}"
    yield "events acknowledged", f"{outcome.acknowledged:,}"
    yield (
        "  counted after the fold",
        "not compared: no token that may read and fold" if result.counted is None else _verdict(result),
    )
    for use in result.uses:
        yield f"memory and CPU of {use.name}", _use(use)
    yield from _own_faults(plan, outcome)


def _own_faults(plan: Plan, outcome: Outcome) -> Iterator[tuple[str, str]]:
    yield "the generator was late, ms", _numbers(outcome.late)
    late = f"{outcome.late_share:.2%} of its requests were sent more than {plan.late_ms:g} ms late"
    if outcome.late["p99"] > plan.late_ms:
        late += ": THE LATENCIES ABOVE ARE PARTLY ITS OWN. Give it a core, or ask for a lower rate"
    yield "  ", late
    if outcome.waited_for_connection:
        yield (
            "  waited for a free connection",
            f"{outcome.waited_for_connection:,} of its requests, part of their latency",
        )
    yield "  CPU of the generator", f"{outcome.cpu_s:.1f} s"


def _verdict(result: Result) -> str:
    said = f"{result.counted:,}"
    return f"{said}: NOT WHAT WAS ACKNOWLEDGED" if result.is_lossy else said


def _numbers(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in values.items()) or "none"


def _use(use: Use) -> str:
    seconds = use.at_s[-1] - use.at_s[0]
    share = f", {use.cpu_used_s / seconds:.0%} of a core" if seconds else ""
    memory = f"{use.rss_mib[0]:,.0f} MiB at first, {max(use.rss_mib):,.0f} at most, {use.rss_mib[-1]:,.0f} at last"
    return f"{memory}; {use.cpu_used_s:.1f} s{share}"
