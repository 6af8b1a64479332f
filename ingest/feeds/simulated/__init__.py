"""A market that does not exist, but looks and behaves like one: deterministic by its seed."""
