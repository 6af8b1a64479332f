"""History: what sources offer of the past, which of it is missing, and how exactly that is fetched and published."""
