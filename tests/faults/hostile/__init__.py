"""A red team: every known attack of one hostile client, reader or neighbour, with its
honest control beside it, against real `foldlog serve` processes on the loopback
interface.
"""
