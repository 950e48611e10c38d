"""Optuna's database: opened, waited for, read back as plain records."""
