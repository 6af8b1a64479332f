"""Benchmarks: each measures Tapehouse against a named peer in one run, on this machine, and says whether its goal holds."""
