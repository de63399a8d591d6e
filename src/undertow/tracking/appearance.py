"""What objects look like beside what is around them: a small classifier of tokens, learned anew for every frame.

The kernel asks which tokens a token is like, one at a time, and where an object and the ground behind it share
something, both answer. All references together tell which differences between the two matter. So a ridge regression on
random features (Rahimi and Recht, 2007) is fitted to the tokens near objects, and soft labels are multiplied by a power
of the shares that it gives.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from undertow.tracking.memory import Reference
from undertow.tracking.regression import balanced, cosines, near_objects, normal_equations, ridge

# All chosen on validation clips (docs/kernel.md). Once everything has the same spread, colours are multiplied by
# `COLOUR`; cosines of `FEATURES` random mixtures are as wide as `WIDTH` times a typical token is long.
COLOUR, FEATURES, WIDTH = 2.0, 384, 2.0
# Shares count by this power, and are kept this far from 0 and 1.
POWER, LEAST = 0.3, 0.02
# Colours and hidden states that differ by no more than this are the same.
NOTHING = 1e-6
# Examples from one reference, at most.
MOST = 256


class Lesson(NamedTuple):
    """What one reference adds to the normal equations of the regression.

    Attributes:
        given: Whether its mask was given.
        known: Which channels it knows.
        gram: Weighted products of features with features.
        target: Weighted products of features with soft labels.
    """

    given: bool
    known: Bool[Tensor, "n"]
    gram: Float[Tensor, "f f"]
    target: Float[Tensor, "f n"]


def colours_of(image: UInt8[np.ndarray, "h w 3"], grid: tuple[int, int]) -> Float[Tensor, "s 3"]:
    """Returns the mean red, green and blue of each token, from 0 to 1."""
    means = cv2.resize(image, grid[::-1], interpolation=cv2.INTER_AREA)
    return torch.from_numpy(means).flatten(0, 1).float() / 255


def told_apart(
    frame: Reference, references: Sequence[Reference], grid: tuple[int, int], radius: int | None
) -> Float[Tensor, "n s"]:
    """Returns soft labels of a frame in which objects have more of what looks like them, and less of what does not.

    Args:
        frame: The frame, with the soft labels that were carried to it.
        references: Frames that teach, the first of them one whose mask was given; no frame twice.
        grid: Rows and columns of tokens.
        radius: The window's, in tokens; None if there is none.
    """
    soft = frame.labels
    asked = near_objects(soft, grid, radius)
    if not len(asked):
        return soft
    looks = Looks(references[0])
    lessons = [_lesson(looks, each, grid, radius) for each in references]
    features, shares = looks(frame, asked), torch.zeros(len(soft), len(asked))
    # Objects that joined at other times are known in other references.
    known = [tuple(column) for column in torch.stack([each.known for each in lessons]).T.tolist()]
    for who in set(known):
        channels = [channel for channel, each in enumerate(known) if each == who]
        weights = _learned([lesson for lesson, one in zip(lessons, who, strict=True) if one])
        if weights is None:
            return soft
        shares[channels] = (features @ weights[:, channels]).T
    found = soft.clone()
    found[:, asked] *= shares.clamp(LEAST, 1 - LEAST) ** POWER
    return found / found.sum(0).clamp(min=1e-9)


class Looks:
    """Random features of tokens, on the scale that hidden states and colours have in one frame.

    Args:
        first: The frame.
    """

    def __init__(self, first: Reference) -> None:
        tokens = torch.arange(first.labels.shape[1])
        self._scales = []
        for part, weight in zip(_parts(first, tokens), (1.0, COLOUR), strict=True):
            spread = part.std(0, correction=min(1, len(part) - 1))
            most = float(spread.max())
            # A direction in which next to nothing happens is not blown up, nor is a picture of one colour.
            scale = weight / spread.clamp(min=0.1 * most) if most > NOTHING else torch.zeros_like(spread)
            self._scales.append((part.mean(0), scale))
        scaled = self._scaled(first, tokens)
        self._width = WIDTH * float(scaled.square().sum(1).mean().sqrt().clamp(min=1e-6))

    def __call__(self, frame: Reference, tokens: Int[Tensor, "t"]) -> Float[Tensor, "t f"]:
        """Returns the features of some tokens of a frame, the last of which is always 1."""
        return cosines(self._scaled(frame, tokens), self._width, FEATURES)

    def _scaled(self, frame: Reference, tokens: Int[Tensor, "t"]) -> Float[Tensor, "t c"]:
        parts = zip(_parts(frame, tokens), self._scales, strict=True)
        return torch.cat([(part - mean) * scale for part, (mean, scale) in parts], dim=1)


def _parts(frame: Reference, tokens: Int[Tensor, "t"]) -> tuple[Float[Tensor, "t d"], Float[Tensor, "t 3"]]:
    """Returns the keys of tokens, all heads side by side, and their colours."""
    assert frame.colours is not None
    keys = frame.keys[:, tokens.to(frame.keys.device)]
    return keys.transpose(0, 1).flatten(1).float().cpu(), frame.colours[tokens]


def _lesson(looks: Looks, reference: Reference, grid: tuple[int, int], radius: int | None) -> Lesson:
    """Returns what the tokens near objects teach, those of objects and those around them alike."""
    tokens = near_objects(reference.labels, grid, radius)
    tokens = tokens[:: max(1, -(-len(tokens) // MOST))]
    labels = reference.labels[:, tokens]
    products = normal_equations(looks(reference, tokens), labels, balanced(labels))
    return Lesson(reference.own is not None, reference.known, *products)


def _learned(lessons: Sequence[Lesson]) -> Float[Tensor, "f n"] | None:
    """Returns weights of features that sum to the share each channel has of a token; `None` without examples.

    Frames whose masks were given count as much as all others together.
    """
    gram, target = torch.zeros_like(lessons[0].gram), torch.zeros(())
    for given in (True, False):
        some = [each for each in lessons if each.given == given]
        for each in some:
            gram, target = gram + each.gram / len(some), target + each.target / len(some)
    return ridge(gram, target) if bool(gram.any()) else None
