"""Alpha Vantage: history with a free key. ``history`` is the source, ``client`` asks, ``parse`` makes bars of the answers."""
