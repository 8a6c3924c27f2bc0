"""What an operator should do whose log rotation displaces active segments. The writer
says it when it notices, the compactor when it finds the rotated file.
"""

from __future__ import annotations

LET_WRITERS_SEAL = "leave active segments alone, and have logrotate run `foldlog rotate`: logrotate/README.md says how"
