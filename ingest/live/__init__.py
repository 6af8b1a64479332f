"""The live feed, simulated or real: ``python -m ingest.live`` publishes it until SIGTERM."""
