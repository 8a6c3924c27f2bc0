"""What a URL says, in SQL. Regular expressions are RE2's, whose time is linear in the
text.
"""

from __future__ import annotations

import re


def hostname_sql(url: str) -> str:
    """SQL of the host of a URL, in small letters; NULL where it has none."""
    host = r"'^[A-Za-z]+://(?:[^/?#@]*@)?(\[[^\]/?#]*\]|[^/?#:]*)'"
    return f"nullif(lower(regexp_extract({url}, {host}, 1)), '')"


def parameter_sql(url: str, name: str) -> str:
    """SQL of a parameter of a URL whose name is the program's own, as the fold decodes
    those of `utm_source`.
    """
    found = f"regexp_extract({url}, '{query_parameter(name)}', 1)"
    return f"CASE WHEN contains(lower({url}), '{name}') THEN {form_value_sql(found)} END"


def query_parameter(name: str) -> str:
    """A regular expression of RE2 for the first value of a parameter of a URL that is
    not empty, as the fold finds those of `utm_source`.
    """
    return f"(?i)^[^#?]*\\?(?:[^#]*?(?:[&;]|%3B))?{re.escape(name)}=([^&#]+?)(?:&|;utm_|#|$)"


def form_value_sql(text: str) -> str:
    """SQL of a value of a form, decoded: 200 characters, NULL if empty."""
    plain = f"replace({text}, '+', ' ')"
    return f"nullif(left(coalesce(TRY(url_decode({plain})), {plain}), 200), '')"
