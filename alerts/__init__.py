"""Alerts: rules, what they come to over the marts, and the table of alerts with its outbox.

What belongs here: the language of rules, their evaluation, and what users ask of both. What does not: how a message reaches
anybody, and when an evaluation happens, which is the orchestration's.
"""
