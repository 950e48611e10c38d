"""Metrics, intervals over patients and paired tests."""
