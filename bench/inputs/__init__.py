"""From stored samples to network input."""
