"""What the platform runs on: the embedded engines, the pinned jars, and what a cluster needs."""
