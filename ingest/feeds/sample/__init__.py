"""Real daily prices that ship in a Python package, so that a fresh installation shows history without any key."""
