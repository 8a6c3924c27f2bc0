"""What is done to Foldlog to see whether it loses or repeats an event.
tests/faults/RESULTS.md says what came of it.
"""
