"""The model of P7 over the hosts of a store: an event id counts once, by claims.

decisions.py   what is claimed, yielded, released, pruned: pure functions
rules.py       the rules of the protocol, each as a flag
store.py, host.py, claiming.py, operators.py   who does what, step by step
world.py, truth.py, interleavings.py   what may happen, and what must hold whatever does
scenarios.py, mutants.py   what goes wrong without one of the rules
"""
