"""Test accuracy while runs train, from their per-epoch tables: curves, and when they get where."""
