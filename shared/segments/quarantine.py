"""Lines that cannot be folded, kept byte for byte in quarantine/ with the reason."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import orjson

from shared.disk.durable import publishing
from shared.disk.layout import DataDirectory
from shared.segments.line import ScannedLine
from shared.segments.sealed import count_lines

RECOVERED_PREFIX = "recovered-"


def publish_quarantine(data: DataDirectory, stem: str, source: str, bad: Iterable[ScannedLine]) -> None:
    """Publish invalid lines of the file `source` as `<stem>.ndjson`: each in base64,
    with its offset and reason.
    """
    with publishing(data.quarantine / f"{stem}.ndjson") as beside, beside.open("xb") as file:
        for line in bad:
            content = base64.b64encode(line.content).decode("ascii")
            row = {"file": source, "offset": line.offset, "reason": line.reason, "base64": content}
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def lines_quarantined_by_recovery(data: DataDirectory) -> int:
    """The number of lines in all files that recovery has quarantined."""
    return sum(count_lines(path) for path in data.quarantine.glob(f"{RECOVERED_PREFIX}*.ndjson"))
