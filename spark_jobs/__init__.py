"""Kafka to Delta to PostgreSQL with Spark Structured Streaming.

``transforms`` are pure (DataFrame to DataFrame), ``io`` reads and writes, ``jobs`` wires them.
"""
