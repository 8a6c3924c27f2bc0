"""The command line and the supervisor: the only package that imports all others."""

__version__ = "0.2.0"
