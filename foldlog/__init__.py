"""The front door: the command line and `serve`. The only package that knows both
halves.
"""

__version__ = "0.2.0"
