"""The channels, a module each: mail, webhooks, the services that Apprise knows, Kafka, and the log.

What belongs here: how one message is handed over, and what the receiver's answer means. What does not: when it is tried again.
"""
