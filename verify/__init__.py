"""Proof of the laws over the data at hand: reads the lake and PostgreSQL, computes everything again, compares.

What belongs here: a reader and a computation of their own, so that a mistake of the stream cannot hide itself. Nothing
in here shares code with the stream; both follow the rules published in ``market``. Nothing in here writes.
"""
