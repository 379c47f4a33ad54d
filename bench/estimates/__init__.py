"""What a grid would cost, before it runs."""
