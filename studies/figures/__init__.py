"""Plotly figures of the report, each with its words and its table."""
