"""The report as HTML and JSON, and what the dashboard shows of it."""
