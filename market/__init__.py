"""The shared vocabulary of Tapehouse: records, topics, tables, sessions, rules, settings and errors.

Pure Python: nothing in here talks to Kafka, Spark, PostgreSQL or Dagster, and nothing in here imports
another package of the project.
"""
