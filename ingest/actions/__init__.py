"""Corporate actions of the past: what sources list, what the lake lacks of it, and the way there."""
