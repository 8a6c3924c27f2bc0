"""The form of a site: a host name."""

from __future__ import annotations

import re

# In lower case. The last form is an IPv6 address.
SITE = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\]")
