"""The commands of docs/scale-out.md, in its order: with an old server in two shards and
with today's.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from compactor.publishing.instance import instance_id
from compactor.publishing.publish import retire_instance
from shared.exit_codes import SUCCESS, USAGE
from shared.stores.open_store import open_store
from tests.builders.clickhouse_kinds import KINDS, running
from tests.builders.command import run_here
from tests.builders.logs import data_directory, fold_all, line, sealed
from tests.builders.postgres import Server
from tests.builders.stores import publish, store_settings

pytestmark = pytest.mark.component


@pytest.mark.parametrize("kind", KINDS)
def test_from_one_host_to_a_cluster(tmp_path: Path, kind: str, postgres: Server) -> None:
    gone, living = (data_directory(tmp_path / name) for name in ("gone", "living"))
    database = postgres.database()
    for data in (gone, living):
        sealed(data, [line(f"{data.root.name}-{n}") for n in range(3)])
        fold_all(data)
        publish(data, store=database)
    before = store_settings(living, store=database)
    retire_instance(living, before, open_store(before, instance_id(living)), UUID(instance_id(gone)))
    with running(kind) as servers:
        environ = {
            "FOLDLOG_DATA_DIR": str(living.root),
            "FOLDLOG_CONSENT": "required",
            "FOLDLOG_STORE": servers.database(),
            "DATABASE_URL": database,
        }

        def typed(command: str, code: int = SUCCESS) -> str:
            done = run_here(command.split(), environ)
            assert done.returncode == code, (command, done.stdout, done.stderr)
            return done.stdout + done.stderr

        typed("check-config")
        assert "CREATE TABLE IF NOT EXISTS analytics_events (" in typed("store migrate --dry-run")
        assert "has all tables" in typed("store migrate")
        assert "holds generation 1, before it held nothing" in typed("store publish")
        assert "is as the parts say" in typed("store check")
        shipped = typed(f"store publish --from {database}")
        assert f"1 days, instance {instance_id(gone)}" in shipped
        assert instance_id(gone) not in typed(f"store publish --from {database}")
        assert ", retired on " in typed("store status")
        assert "holds generation 1" in typed("store rebuild")
        assert "is as the parts say" in typed("store check")
        assert ", retired on " in typed("store status")
        assert "--from takes postgresql://" in typed("store publish --from sqlite:///x", USAGE)
