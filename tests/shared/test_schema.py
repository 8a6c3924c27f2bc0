"""The table of fields: what is derived from it, and the structs of a worker that repeat
it for speed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

from ingest.collect.encode import Line, RequestFields
from ingest.collect.event import Columns, Event
from shared import schema
from shared.schema import FIELDS

ROOT = Path(__file__).parents[2]


def line_names(*, by_request: bool) -> list[str]:
    return [field.line_name for field in FIELDS if field.is_in_line and field.by_request == by_request]


def test_structs_of_a_worker_have_the_fields_of_the_table() -> None:
    sent = [field.line_name for field in FIELDS if field.is_in_line and not field.by_request and not field.by_server]
    assert [*Event.__struct_fields__] == [*sent, "site", "client"]  # a line has these by request
    assert sent == [*Columns._fields]
    assert ["received", *RequestFields.__struct_fields__] == line_names(by_request=True)
    assert [*Line.__struct_fields__] == ["v", *line_names(by_request=True), *line_names(by_request=False)]


def test_dimensions_are_numbered_without_a_gap() -> None:
    assert sorted(field.dimension for field in FIELDS if field.dimension) == [*range(1, len(schema.DIMENSIONS) + 1)]


def test_each_name_stands_once() -> None:
    assert len({field.name for field in FIELDS}) == len(FIELDS)


def test_field_added_to_the_table_reaches_fold_archive_report_and_export(tmp_path: Path) -> None:
    child = textwrap.dedent(
        """
        import os, sys, types
        from pathlib import Path
        import shared

        path = Path(shared.__path__[0], "schema.py")
        text, row = path.read_text("utf-8"), '    Field("path", "url"'
        assert text.count(row) == 1
        shared.schema = sys.modules["shared.schema"] = types.ModuleType("shared.schema")
        added = '    Field("mood", "context", dimension=13),' + chr(10)
        exec(compile(text.replace(row, added + row), str(path), "exec"), vars(shared.schema))

        from foldlog.cli import main
        from shared.segments.line import append_crc
        from tests.builders.logs import data_directory, fold
        from shared.disk.layout import SegmentName
        from shared.segments.sealed import sha256_line
        import hashlib
        from datetime import datetime, UTC

        data = data_directory(Path(os.environ["FOLDLOG_DATA_DIR"]))
        event = b'{"v":1,"received":"%b","site":"example.com","id":"event-%d","name":"x","time":"%b","mood":"%b"'
        now = b"2026-11-22T12:00:00.000Z"
        lines = append_crc(b"", [event % (now, n, now, mood) for n, mood in enumerate((b"glad", b"glad", b"sad"))])
        name = SegmentName("0", 1, datetime(2026, 11, 22, 12, tzinfo=UTC))
        (data.log / name.file).write_bytes(lines)
        (data.log / name.checksum).write_bytes(sha256_line(hashlib.sha256(lines).hexdigest(), name.file))
        fold(data)
        main(["report", "--from", "2026-11-22", "--to", "2026-11-22", "--by", "mood", "--json"])
        print(flush=True)
        main(["export", "--from", "2026-11-22", "--to", "2026-11-22"])
        """
    )
    environ = {"FOLDLOG_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", child], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report, *exported = done.stdout.split()
    assert [(row["value"], row["events"]) for row in json.loads(report)["rows"]] == [("glad", 2), ("sad", 1)]
    assert [json.loads(each)["mood"] for each in exported] == ["glad", "glad", "sad"]
