"""Kafka as a stream of messages with their place in the log."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from market.topics import Topic


def read_messages(
    spark: SparkSession, bootstrap_servers: str, topic: Topic, *, max_messages_per_batch: int
) -> DataFrame:
    """Return the topic as a stream: ``topic, partition, offset, kafka_at, key, value``.

    A gap in the log (messages that the broker dropped before they were read) fails the query.
    """
    stream = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap_servers)
        .option("subscribe", topic.name)
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", max_messages_per_batch)
        .option("minPartitions", spark.sparkContext.defaultParallelism)  # one busy partition must not leave a core idle
        .option("kafka.max.partition.fetch.bytes", 8 * 1024 * 1024)
        .option("kafka.fetch.max.bytes", 64 * 1024 * 1024)
        .load()
    )
    return stream.select(
        "topic",
        "partition",
        "offset",
        f.col("timestamp").alias("kafka_at"),
        "key",
        "value",
    )
