"""Recorded training steps (experimental): replayed instead of launched operation by operation."""
