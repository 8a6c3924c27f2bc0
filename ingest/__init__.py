"""The HTTP server: its write half (POST to log) and its read half (reports). Never
imports `compactor`.
"""
