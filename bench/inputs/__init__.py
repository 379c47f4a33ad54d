"""Stored samples to network input.

``view`` has arrays in memory, ``streaming`` encoded files decoded by workers, ``crops`` the random
crops of both, ``strong`` the strong second view, ``statistics`` the pixel statistics by name.
"""
