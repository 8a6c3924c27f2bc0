"""Counter upserts in PostgreSQL, a row a day and value, as a team would write them with
asyncpg.

`transaction` begins, upserts each table with a statement of its own and commits;
`statement` does the same in one statement. Both prepare their statements once a
connection and keep the connections open. The tables with the fewest rows, where
requests wait for each other until the commit, come last. With `--slots` a counter is
spread over several rows, one of which a connection takes: none waits then, and a
reader has to add them up.
"""

from __future__ import annotations

import argparse
import asyncio

import asyncpg
import uvloop

from tests.bench.baselines.server import DIMENSIONS, Counted, serve

# Beyond those that make it as durable as Foldlog: checkpoints are kept out of the
# measurement, in PostgreSQL's favour.
SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h"}

TABLES = "".join(
    f"CREATE TABLE day_{dimension} (day date, {dimension} text, slot int, events bigint NOT NULL, "
    f"PRIMARY KEY (day, {dimension}, slot)) WITH (fillfactor = 50);"
    for dimension in DIMENSIONS
)
VISITORS = "CREATE TABLE day_visitor (day date, visitor text, PRIMARY KEY (day, visitor));"


def upsert(dimension: str, value: str, slot: str) -> str:
    return (
        f"INSERT INTO day_{dimension} AS old VALUES ($1, {value}, {slot}, 1) "
        f"ON CONFLICT (day, {dimension}, slot) DO UPDATE SET events = old.events + 1"
    )


INSERT_VISITOR = "INSERT INTO day_visitor VALUES ($1, {value}) ON CONFLICT DO NOTHING"
EACH = {dimension: upsert(dimension, "$2", "$3") for dimension in DIMENSIONS}
# The main statement of a WITH runs first, the others after it in their order.
AT_ONCE = (
    f"WITH path AS ({upsert('path', '$3', '$6')}), name AS ({upsert('name', '$4', '$6')}), "
    f"country AS ({upsert('country', '$5', '$6')}) {INSERT_VISITOR.format(value='$2')}"
)


async def in_transaction(connection: asyncpg.Connection, slot: int, event: Counted) -> None:
    async with connection.transaction():
        await connection.execute(INSERT_VISITOR.format(value="$2"), event.day, event.visitor)
        for dimension, statement in EACH.items():
            await connection.execute(statement, event.day, getattr(event, dimension), slot)


async def in_statement(connection: asyncpg.Connection, slot: int, event: Counted) -> None:
    await connection.execute(AT_ONCE, event.day, event.visitor, event.path, event.name, event.country, slot)


COUNT = {"transaction": in_transaction, "statement": in_statement}


def schema(variant: str, slots: int) -> str:
    """Where the tables of one baseline are, so that several share a cluster."""
    return f"{variant}_{slots}"


async def connect(url: str, schema: str) -> asyncpg.Connection:
    return await asyncpg.connect(url, server_settings={"search_path": schema})


async def run(port: int, url: str, variant: str, connections: int, slots: int) -> None:
    opened = [await connect(url, schema(variant, slots)) for _ in range(connections)]
    await opened[0].execute(f"CREATE SCHEMA {schema(variant, slots)}; {TABLES} {VISITORS}")
    # A queue and not a Pool, which asks the server to forget the session after each
    # use.
    free: asyncio.LifoQueue[tuple[asyncpg.Connection, int]] = asyncio.LifoQueue()
    for number, connection in enumerate(opened):
        free.put_nowait((connection, number % slots))
    write = COUNT[variant]

    async def count(event: Counted) -> None:
        connection, slot = await free.get()
        try:
            await write(connection, slot, event)
        finally:
            free.put_nowait((connection, slot))

    await serve(port, count)
    for connection in opened:
        await connection.close()


async def sums(url: str, schema: str) -> dict[str, int]:
    """How many events are counted, by each dimension."""
    connection = await connect(url, schema)
    try:
        return {name: int(await connection.fetchval(f"SELECT sum(events) FROM day_{name}") or 0) for name in DIMENSIONS}
    finally:
        await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--url", required=True, help="postgresql://…")
    parser.add_argument("--variant", choices=COUNT, required=True)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--slots", type=int, default=1)
    given = parser.parse_args()
    uvloop.run(run(given.port, given.url, given.variant, given.connections, given.slots))


if __name__ == "__main__":
    main()
