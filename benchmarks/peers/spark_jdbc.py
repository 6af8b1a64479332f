"""Changed bars to PostgreSQL by Spark's JDBC writer: run in the project's environment, prints the seconds of each turn as JSON.

Rows in memory, a partition and connection a core, into a table without log and indexes; from there one statement changes the
bars. With ``--fastest`` 10,000 rows a batch, which the driver rewrites to inserts of many rows (``reWriteBatchedInserts``);
without it batches are what Spark and the driver make of them by default.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import lit

from market.settings import load_settings
from market.tables import PG_BARS
from warehouse.connection import connect


def main() -> None:
    """Write the rows so many times, each time with the next revision."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("jar", Path), ("rows", Path), ("table", str), ("staging", str)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    for name in ("first-revision", "turns"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--fastest", action="store_true")
    options = parser.parse_args()
    settings = load_settings()
    builder = SparkSession.builder.master("local[2]").config("spark.jars", str(options.jar))
    builder = builder.config("spark.driver.memory", settings.spark_memory).config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    rows = spark.read.parquet(str(options.rows)).repartition(2).cache()
    rows.count()
    target = urlsplit(settings.require_database())
    names = ", ".join(PG_BARS.column_names)
    changes = ", ".join(f"{name} = excluded.{name}" for name in PG_BARS.column_names[3:])
    upsert = (
        f"insert into {options.table} as stored ({names}) select {names} from {options.staging} "  # noqa: S608 - given names
        f"on conflict (source, symbol, bar_at) do update set {changes} where excluded.revision > stored.revision"
    )
    for turn in range(options.turns):
        changed = rows.withColumn("revision", lit(options.first_revision + turn).cast("int")).select(*rows.columns)
        with connect(settings) as connection:
            connection.execute(f"truncate {options.staging}")
        started = time.perf_counter()
        _append(changed, target, options.staging, fastest=options.fastest)
        appended = time.perf_counter()
        with connect(settings) as connection:
            connection.execute("set local work_mem = '64MB'")
            connection.execute(upsert)
        ended = time.perf_counter()
        line = {"append_seconds": appended - started, "upsert_seconds": ended - appended}
        sys.stdout.write(json.dumps(line) + "\n")
    spark.stop()


def _append(rows: DataFrame, target: SplitResult, table: str, *, fastest: bool) -> None:
    writer = rows.write.format("jdbc").mode("append")
    for name, value in {
        "url": f"jdbc:postgresql://{target.hostname}:{target.port}{target.path}?reWriteBatchedInserts={str(fastest).lower()}",
        "user": unquote(target.username or ""),
        "password": unquote(target.password or ""),
        "driver": "org.postgresql.Driver",
        "dbtable": table,
        "batchsize": 10_000 if fastest else 1_000,  # the latter is Spark's default
        "numPartitions": 2,
    }.items():
        writer = writer.option(name, str(value))
    writer.save()


if __name__ == "__main__":
    main()
