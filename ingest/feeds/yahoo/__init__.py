"""Yahoo Finance: history without a key. ``history`` is the source, ``client`` asks, ``parse`` makes raw bars of the answers."""
