"""What is done to Foldlog to see whether it loses or repeats an event.
docs/reliability.md says what came of it.
"""
