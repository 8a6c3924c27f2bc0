"""Hosts of a PostgreSQL store: data directories that publish to it under names of
their own.
"""

from __future__ import annotations

from compactor.publishing.instance import instance_id
from compactor.publishing.publish import publish_newest
from shared.disk.layout import DataDirectory
from shared.settings import Settings
from shared.stores.postgres.store import PostgresStore


def publish_as(host: str, data: DataDirectory, address: str, timezone: str = "UTC") -> str:
    """Publish the newest generation. Returns the instance."""
    instance = instance_id(data)
    store = PostgresStore(address, instance, host, timezone)
    publish_newest(data, Settings(data_dir=data.root, store=address, timezone=timezone), store)
    return instance
