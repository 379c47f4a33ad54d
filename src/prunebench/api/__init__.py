"""prunebench from Python: pruning in a loop of one's own."""
