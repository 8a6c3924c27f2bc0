"""What Foldlog is measured against: three floors that nothing can beat, and what a team
would otherwise write.

Floors: `null_handler` (the framework), `decode` (parsing), `disk` (write and
fdatasync). The others store what Foldlog stores of an event as counters, as durably,
behind the same kind of aiohttp handler: `postgres`, `sqlite`, `summary_file`. They keep
no event and drop no copy of one, so each does less than Foldlog does.
"""
