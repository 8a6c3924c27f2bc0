"""`foldlog bench`: loads a running server in an open loop, then folds and compares the
events acknowledged with the events counted.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from foldlog.load.plan import Outcome, Plan
from foldlog.load.sampling import Use, sampling
from foldlog.load.target import BenchError, Target, count_events, fold_and_count
from shared.exit_codes import UsageError

STOP_TIMEOUT_S = 60.0
# A report over several hosts may be a moment behind the fold of one.
COUNT_WAIT_S = 3.0


class Result(msgspec.Struct, kw_only=True):
    """A run. `counted`: how many more events the server counts than before; None
    without a token that permits the question.
    """

    outcome: Outcome
    events: int
    counted: int | None
    uses: list[Use]

    @property
    def is_lossy(self) -> bool:
        """Whether an acknowledged event is not counted, or an event that was not sent
        is.
        """
        if self.counted is None:
            return False
        return not self.outcome.acknowledged <= self.counted <= self.most_countable

    @property
    def most_countable(self) -> int:
        """The events of a request without an answer are stored or not."""
        return self.outcome.acknowledged + self.outcome.unanswered * self.events

    @property
    def rejected(self) -> int:
        """Requests without an answer, or with another one than 200 and 202."""
        accepted = sum(self.outcome.statuses.get(status, 0) for status in ("200", "202"))
        return self.outcome.requests - accepted


def make_plan(target: Target, rates: list[float], seconds: float, **options: Any) -> Plan:
    """A plan for that server; its events have ids that no other run uses."""
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


def run(
    target: Target, plan: Plan, before_fold: Callable[[], None] = lambda: None, *, must_count: bool = False
) -> Result:
    """Load, fold, compare. `before_fold` is called after the last answer. Raises
    BenchError, and UsageError where events must be counted and no token permits it.
    """
    since = datetime.now(UTC).date() - timedelta(days=1)
    before = fold_and_count(target, since)
    if before is None and must_count:
        raise UsageError(
            f"no token permits reading and folding at {target.url}, so nothing can be counted: "
            "set FOLDLOG_ADMIN_TOKEN to an admin token of that server, or add --key-file with one"
        )
    with sampling(target.server_pid) as uses:
        outcome = generate(plan)
    before_fold()
    counted = None if before is None else _count(target, since, before, outcome.acknowledged)
    return Result(outcome=outcome, events=plan.events, counted=counted, uses=list(uses.values()))


def _count(target: Target, since: date, before: int, acknowledged: int) -> int | None:
    """Fold and count; once more for a few seconds while events are missing."""
    found = fold_and_count(target, since)
    deadline = time.monotonic() + COUNT_WAIT_S
    while found is not None and found - before < acknowledged and time.monotonic() < deadline:
        time.sleep(1)
        found = count_events(target, since)
    return None if found is None else found - before


def generate(plan: Plan) -> Outcome:
    """Run the plan in a process of its own. Raises BenchError."""
    command = [sys.executable, "-m", "foldlog.load.generator", str(os.getpid())]
    limit_s = plan.warm_up_s + plan.seconds + plan.answer_s + STOP_TIMEOUT_S
    try:
        done = subprocess.run(
            command, input=msgspec.json.encode(plan), capture_output=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"the load generator did not end in {limit_s:.0f} s") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise BenchError(f"the load generator failed: {lines[-1] if lines else done.returncode}")
    return msgspec.json.Decoder(Outcome).decode(done.stdout)
