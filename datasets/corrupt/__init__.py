"""Corrupted training images: names, how each kind changes pixels, and which images are changed."""
