"""The embedded stack: real Kafka and real PostgreSQL as child processes on this machine."""
