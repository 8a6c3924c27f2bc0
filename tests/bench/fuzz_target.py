"""The fuzzing process: libFuzzer makes bodies, each of which must either be refused
with a 4xx or become whole log lines.

This is the path of a body without HTTP and without the disk: admission.body_format,
body.inflate, native.decode, consent.resolve_consent, validate.validate_batch,
encode.encode_events.
libFuzzer keeps the bodies that reach something new, and makes others of them. Every
body goes to standard output as well, with what it should be answered:
tests/bench/fuzz.py posts it to a real worker.

Anything that is not as promised ends the process with a traceback, and libFuzzer keeps
the body as a file.
"""

from __future__ import annotations

import random
import sys
from copy import copy
from datetime import datetime
from importlib import import_module
from typing import Any

import msgspec
import orjson

from tests.bench.fuzz_bodies import FORMS, FRAME, split
from tests.bench.fuzz_mutate import mutated

# By name, so that everything but fuzzing works without it, the type checker included.
atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["ingest", "shared"]):
    from ingest.collect import admission, body, consent, encode, native
    from ingest.collect.event import Event
    from ingest.collect.validate import Accepted, validate_batch
    from ingest.collect.visitor_id import DailyVisitor
    from ingest.http.problem import Problem
    from shared.control_chars import CONTROL_CHARS
    from shared.segments.line import LINE_MAX_BYTES, line_error
    from shared.settings import Settings
    from shared.timestamps import now_ms

# Between the outcome of a body here and the one over HTTP. What depends on the moment
# within it is not compared.
PATIENCE_MS = 120_000
SAME_FIELDS = ("name", "session", "url", "referrer", "value", "props")
ORIGIN = encode.RequestFields("127.0.0.1", "Mozilla/5.0 \x7f", "de", None, "implied")
VISITOR = "hash-of-the-visitor"
DAILY_VISITOR = DailyVisitor(VISITOR, 0, 0, lambda _time_ms: VISITOR)
SETTINGS = Settings(consent="implied")


def main() -> None:
    """fuzz_target COUNT [options and directories of libFuzzer]: give COUNT bodies to
    standard output.
    """
    target = Target(int(sys.argv.pop(1)))
    atheris.Setup(sys.argv, target.try_one, custom_mutator=target.mutate)
    atheris.Fuzz()


class Target:
    """What libFuzzer calls."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._pick = random.Random(1)

    def mutate(self, data: bytes, max_size: int, _seed: int) -> bytes:
        return mutated(data, max_size, self._pick, atheris.Mutate)

    def try_one(self, data: bytes) -> None:
        form, content = split(data)
        status, accepted = answer_to(*FORMS[form], content)
        if self._left:
            self._left -= 1
            sys.stdout.buffer.write(FRAME.pack(form, status, accepted, len(content)) + content)
            if not self._left:
                sys.stdout.buffer.flush()


def answer_to(content_type: str, content_encoding: str, content: bytes) -> tuple[int, int]:
    """Status and number of events of the answer that this body should get, -1 where
    that is not to be compared.
    """
    received_ms = now_ms()
    try:
        form = admission.body_format(content_type, content_encoding)
        if not content:
            return 400, 0  # read_body says so, before there is anything to inflate
        plain = body.inflate(content, form.encoding, SETTINGS.max_body_bytes)
        batch = native.decode(plain, form.media_type, SETTINGS.max_events)
        consent.resolve_consent(batch.consent, "implied")
    except Problem as refusal:
        demand(400 <= refusal.status < 500, f"refused with {refusal.status} {refusal.code}")
        return refusal.status, 0
    validated = validate_batch(batch.events, received_ms, batch.sent_at, batch.columns)
    demand(
        validated == validate_batch(batch.events, received_ms, batch.sent_at),
        "many events are validated as each of them is",
    )
    demand(len(validated.accepted) + len(validated.rejected) == len(batch.events), "each event is accepted or rejected")
    later = validate_batch(batch.events, received_ms + PATIENCE_MS, batch.sent_at)
    if validated.accepted:
        sent = [(copy(event), time_ms) for event, time_ms in validated.accepted]
        check_lines(sent, encode.encode_events(validated.accepted, ORIGIN, DAILY_VISITOR, received_ms, len(plain)))
    is_settled = len(later.accepted) == len(validated.accepted)
    return 200 if validated.accepted else 422, len(validated.accepted) if is_settled else -1


def check_lines(accepted: list[Accepted], blob: bytes) -> None:
    """Each event is one whole line, harmless in a terminal, that holds what was
    sent.
    """
    sealed = blob.splitlines(keepends=True)
    demand(len(sealed) == len(accepted), "one line for each event")
    for (event, time_ms), line in zip(accepted, sealed, strict=True):
        demand(line_error(line) is None, f"a line with a flaw: {line_error(line)}")
        demand(len(line) <= LINE_MAX_BYTES, f"a line of {len(line)} bytes")
        demand(
            CONTROL_CHARS.search(line[:-1].decode("utf-8").replace("\x7f", "")) is None,
            "a line that a terminal would act on",
        )
        check_line(event, time_ms, orjson.loads(line))


def check_line(event: Event, time_ms: int, line: dict[str, Any]) -> None:
    """The line, read by another parser than the one that wrote it, against the
    event.
    """
    sent = msgspec.structs.asdict(event)
    for field in SAME_FIELDS:
        demand(line.get(field) == sent[field], f"{field} is {line.get(field)!r}, and was {sent[field]!r}")
    demand(line["id"] == (event.id or line["id"]) and 8 <= len(line["id"]) <= 64, f"the id is {line['id']!r}")
    demand(line["visitor"] == (event.visitor or VISITOR), f"the visitor is {line['visitor']!r}")
    demand(("daily" in line) == (event.visitor is None), f"daily is {line.get('daily')!r}")
    stored_ms = round(datetime.fromisoformat(line["time"]).timestamp() * 1000)
    demand(stored_ms == time_ms, f"the time is {line['time']}, and was {time_ms}")


def demand(fulfilled: bool, what: str) -> None:
    if not fulfilled:
        raise AssertionError(what)


if __name__ == "__main__":
    main()
