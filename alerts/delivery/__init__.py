"""How alerts reach people and programs: the relay from the outbox, the channels, and protection from storms.

What belongs here: everything from a row of ``app.alert_outbox`` to a receiver that took it. What does not: which alerts there
are (:mod:`alerts`), and the process that the relay runs in, which is the orchestration's: it hands in what publishes to Kafka.
"""
