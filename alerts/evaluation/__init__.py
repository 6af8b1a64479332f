"""What rules come to over the marts: SQL, composed here, run in PostgreSQL."""
