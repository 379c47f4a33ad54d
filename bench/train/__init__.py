"""One training. Nothing here knows a results folder."""
