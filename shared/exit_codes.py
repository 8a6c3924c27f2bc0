"""Exit codes of every command; docs/api.md lists them."""

DONE = 0
WRONG = 1
USAGE = 2
TRY_AGAIN = 75
