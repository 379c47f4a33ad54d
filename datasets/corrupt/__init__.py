"""Corrupted training images."""
