"""The chapters of a report: pure functions from what was read to parts of the document."""
