"""Encoded images: reading, packing, decoding."""
