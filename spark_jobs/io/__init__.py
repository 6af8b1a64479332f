"""Reading and writing: Kafka, Delta and their options."""
