"""Which site a host counts for: said in SQL for logs and in Python for exports, and the
same in both.
"""

from __future__ import annotations

import duckdb
import pytest

from foldlog.importers.formats import FORMATS
from foldlog.importers.site_choice import OTHER_HOSTS, SiteChoice

HOSTS = (
    *("", "-", "_", "example.com", "www.example.com", "EXAMPLE.com:443", " example.com. ", "shop.example.net", "x y"),
    *(
        "www.shop.example.net:80",
        "192.0.2.1:8080",
        "[2001:db8::7]",
        "[2001:db8::7]:443",
        "İ.example",
        "a" * 300,
        "-x",
        ":80",
    ),
)
CHOICES = [
    SiteChoice(named, sites, other)
    for named in (None, "example.com", "www.example.com")
    for sites in ((), ("example.com", "www.shop.example.net"))
    for other in OTHER_HOSTS
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_site_of_a_host_is_the_same_in_sql_and_in_python(choice: SiteChoice) -> None:
    sql, _ = choice.sql(FORMATS["vhost_combined"])
    with duckdb.connect() as database:
        rows = database.execute(
            f"SELECT host, {sql} FROM (SELECT unnest($1::VARCHAR[]) AS host)", [list(HOSTS)]
        ).fetchall()
    assert dict(rows) == {host: choice.of(host) for host in HOSTS}
