"""`foldlog demo`: a throw-away Foldlog with a quarter of made-up traffic.

run.py tells the story. The traffic is made in this order: shape (how many visits, and
when), people (who comes, from where), journeys (what they do), quarter (all of it,
counted), lines (as it stands in the log). The trickle goes on with the same people.
"""
