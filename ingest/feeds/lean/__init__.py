"""Real ticks from the data folder of the open-source engine LEAN."""
