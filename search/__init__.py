"""Runs studies: the commands, the bridge between Optuna and Ray Tune, training, and the final test."""

from data_utils.interrupt import guard_imports

__version__ = "0.1.0"

guard_imports()
