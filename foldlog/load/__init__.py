"""`foldlog bench`: load on a server, and whether everything acknowledged is counted."""

EVENT_NAME = "foldlog-bench"
