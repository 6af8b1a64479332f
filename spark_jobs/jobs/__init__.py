"""Jobs: what runs as a process."""
