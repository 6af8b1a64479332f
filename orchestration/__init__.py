"""Dagster: the assets, jobs, schedules and sensors, and the instance that runs them.

What belongs here: wiring. What an asset computes lives in ``ingest``, ``spark_jobs``, ``warehouse`` and ``dbt_project``.
"""
