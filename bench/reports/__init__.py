"""Boards and method pages made from records and the registry."""
