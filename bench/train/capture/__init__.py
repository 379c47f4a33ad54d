"""Recorded training steps: replayed instead of launched operation by operation."""
