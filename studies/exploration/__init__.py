"""The page about the patches: its numbers, findings, figures and tables."""
