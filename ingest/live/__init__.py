"""The simulated live market: ``python -m ingest.live`` publishes it until SIGTERM."""
