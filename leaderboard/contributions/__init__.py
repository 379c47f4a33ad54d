"""Runs of others for a board: what they hand in, and what is looked at before it is accepted."""
