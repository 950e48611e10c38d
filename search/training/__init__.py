"""Trains and evaluates networks; knows neither Optuna nor Ray."""
