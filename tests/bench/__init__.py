"""Benchmarks: figures as ratios within one run, each of which checks that what it
measured also happened.
"""
