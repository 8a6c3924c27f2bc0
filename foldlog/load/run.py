"""`foldlog bench`: loads a running server in an open loop, then folds and compares the
events acknowledged with the events counted.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from foldlog.load.plan import Outcome, Plan
from foldlog.load.sampling import Use, sampling
from foldlog.load.target import BenchError, Target, fold_and_count

STOP_TIMEOUT_S = 60.0


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
        most = self.outcome.acknowledged + self.outcome.unanswered * self.events
        return not self.outcome.acknowledged <= self.counted <= most

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


def run(target: Target, plan: Plan, before_fold: Callable[[], None] = lambda: None) -> Result:
    """Load, fold, compare. `before_fold` is called after the last answer. Raises
    BenchError.
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
