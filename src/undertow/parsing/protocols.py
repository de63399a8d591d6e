"""What the stages of parsing hand each other: frames with coarse labels, and from these the maps of every pixel."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.masks import LabelMap
from undertow.video import Frame


@dataclass(frozen=True)
class ParseResult:
    """The result of one frame.

    Attributes:
        index: Frame number.
        time: Seconds, exact.
        name: Stem of the frame's files.
        labels: Class or cluster of every pixel at native size; 0 is a class like any other, 65535 is void.
        ids: Classes known so far, in the order of the probabilities.
        areas: Number of pixels of each class that has any.
        confidence: For each class with pixels, the mean over them of best minus second probability; 1 for pixels of an
            anchor gave.
        probabilities: One map per id, if the settings ask for them.
    """

    index: int
    time: Fraction
    name: str
    labels: LabelMap
    ids: tuple[int, ...]
    areas: Mapping[int, int]
    confidence: Mapping[int, float]
    probabilities: Float[Tensor, "m h w"] | None = None


@dataclass(frozen=True)
class CoarseBatch:
    """Frames with the labels of their tokens.

    Attributes:
        indices: Frame numbers.
        images: The frames at native size.
        soft: Probability of each class per token; sums to one over m. One-hot if labels are certain.
        ids: Class of each of the m channels.
        latents: Clean latents of the frames at the model's input size; None unless the sharpener needs them.
    """

    indices: Sequence[int]
    images: Sequence[UInt8[np.ndarray, "h w 3"]]
    soft: Float[Tensor, "f m gh gw"]
    ids: tuple[int, ...]
    latents: Float[Tensor, "f c lh lw"] | None = None


class Sharpener(Protocol):
    """What makes maps of pixels of the labels of tokens."""

    @property
    def needs_latents(self) -> bool:
        """Whether batches must come with latents."""

    def __call__(self, batch: CoarseBatch) -> Iterator[Float[Tensor, "m h w"]]:
        """Yields for each frame the maps of its classes at native size, by which the largest wins; they sum to one.

        One frame at a time, since the maps of a whole batch may be larger than all the rest.
        """


class Labeller(Protocol):
    """What labels the tokens of a batch of frames, and remembers from batch to batch."""

    @property
    def ids(self) -> tuple[int, ...]:
        """Classes known so far."""

    def learn(self, frames: Sequence[Frame], anchors: Mapping[int, LabelMap]) -> None:
        """Takes in the anchors of a batch before its turn, or at it."""

    def label(
        self, frames: Sequence[Frame], anchors: Mapping[int, LabelMap], *, backwards: bool = False
    ) -> CoarseBatch:
        """Returns the labels of a batch's tokens.

        Args:
            frames: The batch, in order.
            anchors: Those of its frames.
            backwards: Whether batches come last to first, from the first anchor on.
        """

    def state(self) -> dict[str, Tensor]:
        """Returns everything that later batches' labels depend on, by name."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` returned."""
