"""The asset graph: from the Kafka topics over the lake and PostgreSQL to the marts."""
