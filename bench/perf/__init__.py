"""Measurements of speed: contenders side by side, with machine and spread."""
