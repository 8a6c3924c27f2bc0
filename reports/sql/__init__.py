"""The SQL of reports: a package for each dialect, with a function `statement` from a
read of reports/plan.py to a Statement.
"""
