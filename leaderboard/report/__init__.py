"""One page of what reviewers of papers on data pruning ask for; see ``all_sections.report``."""
