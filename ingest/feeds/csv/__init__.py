"""Anyone's own tape as a CSV file."""
