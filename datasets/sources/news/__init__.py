"""20 Newsgroups in seven classes."""
