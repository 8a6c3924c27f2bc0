"""What the other packages must agree on: formats, settings, errors. Each module is used
by at least two of them, and imports none.
"""
