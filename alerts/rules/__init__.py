"""Rules as texts and values: the language, the fields, and whether a rule can fire. Nothing in here talks to a database."""
