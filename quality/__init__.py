"""What values are possible at all: suites of Great Expectations from the declarations, held against what changed."""
