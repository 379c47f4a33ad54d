"""A board as markdown, HTML, LaTeX, CSV and JSON."""
