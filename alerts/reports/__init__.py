"""Reports: what a session, a week or a month was, as one document that is written as HTML and as PDF."""
