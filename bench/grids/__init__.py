"""Grid files, to jobs, to records."""
