"""The ground floor: what `ingest` and `compactor` must agree on. Only what both use
lives here; it imports neither.
"""
