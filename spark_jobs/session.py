"""The Spark session: its jars, memory and settings. No other module configures Spark."""

import os
import sys
from pathlib import Path
from typing import Final

from pyspark.sql import SparkSession

from market.errors import ServiceError
from market.settings import CHECKOUT, Settings

_JARS: Final = (
    "delta-*",
    "unitycatalog-*",
    "spark-sql-kafka-*",
    "spark-token-provider-*",
    "kafka-clients-*",
    "commons-pool2-*",
)
_LOCAL_CORES: Final = max(2, min(os.cpu_count() or 2, 8))


def jar_paths(folder: Path = CHECKOUT / ".cache" / "jars" / "spark") -> list[Path]:
    """Return the connector jars; everything else they depend on comes with pyspark.

    Raises
    ------
    ServiceError
        If a jar is missing.
    """
    paths: list[Path] = []
    for pattern in _JARS:
        found = sorted(folder.glob(pattern))
        if not found:
            msg = f"No jar {pattern} in {folder}. Run ./run doctor, or delete {folder.parent} and run ./run again."
            raise ServiceError(msg)
        paths += found
    return paths


def build_session(settings: Settings, name: str) -> SparkSession:
    """Return a session on ``SPARK_MASTER``, or on this machine's cores."""
    master = settings.spark_master or f"local[{_LOCAL_CORES}]"
    jars = ",".join(str(path) for path in jar_paths())
    scratch = settings.home / "spark"
    scratch.mkdir(parents=True, exist_ok=True)
    # What the tasks of local executors start with; on a cluster they need the same environment as here.
    os.environ.update({"PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(CHECKOUT)})
    log_config = Path(__file__).with_name("log4j2.properties")
    java_options = " ".join(
        f'"{option}"'  # quoted, as a path may hold a space
        for option in (
            "-Xss8m",  # stopping a query overflowed the default thread stack
            "-XX:+UseParallelGC",
            "-XX:-DontCompileHugeMethods",  # Spark's generated methods are longer than what is compiled by default
            f"-Dlog4j2.configurationFile={log_config.as_uri()}",
            "-Duser.timezone=UTC",  # in any other zone Delta recomputes a table's state with every commit, to verify it
            f"-Dderby.system.home={scratch}",
            f"-Djava.io.tmpdir={scratch}",
        )
    )
    builder = (
        SparkSession.builder.appName(name)
        .master(master)
        .config("spark.jars", jars)
        .config("spark.driver.memory", settings.spark_memory)
        .config("spark.driver.extraJavaOptions", java_options)
        .config("spark.local.dir", str(scratch))
        .config("spark.sql.warehouse.dir", str(scratch / "warehouse"))
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", str(_LOCAL_CORES))
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "50000")
        .config("spark.executorEnv.POLARS_MAX_THREADS", "1")  # a task has one core
        .config("spark.sql.parquet.compression.codec", "zstd")
        # The default, INT96, takes longer to write and is obsolete.
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .config("spark.databricks.delta.snapshotPartitions", "2")
        .config("spark.databricks.delta.schema.autoMerge.enabled", "false")
        .config("spark.sql.streaming.checkpoint.fileChecksum.enabled", "false")
        .config("spark.sql.maxPlanStringLength", "2000")
        # A batch needs about 100 pieces of generated code, as many as the default keeps: each batch compiled all anew.
        .config("spark.sql.codegen.cache.maxEntries", "2000")
        .config("spark.sql.streaming.noDataMicroBatches.enabled", "false")
    )
    if settings.spark_master is None:
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    return builder.getOrCreate()
