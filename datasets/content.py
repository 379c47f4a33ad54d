"""Digests, at the address that plug-ins of earlier versions import them from."""

from prunebench.datasets.digests import channel_stats, content_digest

__all__ = ["channel_stats", "content_digest"]
