"""Sizes and shape of a data set, known without its files."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Outline:
    """What a data set's arrays look like.

    Attributes:
        train: Training samples, reference rows of its own left out.
        test: Test samples.
        shape: Of one network input: channels x height x width, or the length of a vector.
        classes: C.
        reference: Reference samples of its own; 0 where they come out of the training split.
        images: Whether samples are images (uint8) or vectors (float32).
    """

    train: int
    test: int
    shape: tuple[int, ...]
    classes: int
    reference: int = 0
    images: bool = True

    def limited(self, train: int | None = None, test: int | None = None) -> Outline:
        """The same with at most so many samples."""
        return replace(
            self,
            train=self.train if train is None else min(train, self.train),
            test=self.test if test is None else min(test, self.test),
        )
