"""Closed segments become a snapshot; what is old enough goes. Never imports
`ingest`.
"""
