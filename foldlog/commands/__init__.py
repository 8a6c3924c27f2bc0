"""One module a command, imported when it is typed: no command pays for another.

Each has `run(given, settings, data)`, which returns the exit code.
"""
