"""Folds sealed segments into parts and a snapshot; deletes what has expired. Never
imports `ingest`.
"""
