"""From the runs of a board to its claims: comparisons, families, letters, marks."""
