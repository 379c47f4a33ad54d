"""Writing packed images, at the address that packers outside this package import it from."""

from prunebench.datasets.images.packed_format import write_packed

__all__ = ["write_packed"]
