"""Every number and sentence of the report, computed once."""
