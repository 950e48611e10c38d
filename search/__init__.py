"""Runs studies: the commands, the bridge between Optuna and Ray Tune, training, and the final test."""

__version__ = "0.1.0"
