"""PostgreSQL and nothing else: connections, migrations, batches of the stream, progress, and what dbt needs to know.

The only package that imports a SQL driver. It imports nothing of the project but :mod:`market`.
"""
