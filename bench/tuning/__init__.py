"""Tuning: Optuna studies whose trials are ordinary cells of the results folder."""
