"""Feeds into Kafka: what reads a market's records and publishes them.

What belongs here: the feeds, the one wrapper of the Kafka producer, the topics' administration and the live feed,
simulated or real. What does not: judging a record (the stream does, so that a bad one is kept with its reason).
"""
