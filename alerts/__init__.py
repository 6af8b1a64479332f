"""Alerts: rules, what they come to over the marts, the table of alerts with its outbox, and how they reach their channels.

What belongs here: the language of rules, their evaluation, delivery, and what users ask of all three. What does not: when an
evaluation happens, and which process delivers, which is the orchestration's.
"""
