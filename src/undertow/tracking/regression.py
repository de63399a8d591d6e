"""Ridge regression on random features: what the tokens near objects say of the shares that objects have of others."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

RIDGE = 0.01
# "Near" is within this share of the window's radius of tokens of which objects have more than this.
REACH, SOME = 2 / 3, 0.3


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


def near_objects(labels: Float[Tensor, "n s"], grid: tuple[int, int], radius: int | None) -> Int[Tensor, "t"]:
    """Returns the numbers of the tokens that are near objects.

    Args:
        labels: Soft labels, background first.
        grid: Rows and columns of tokens.
        radius: The window's, in tokens; None if there is none.
    """
    reach = max(1, round(REACH * (max(grid) if radius is None else radius)))
    some = (labels[1:].sum(0) > SOME).view(grid).byte().numpy()
    near = cv2.dilate(some, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return torch.from_numpy(near).flatten().nonzero()[:, 0]


def cosines(scaled: Float[Tensor, "t c"], width: float, count: int) -> Float[Tensor, "t f"]:
    """Returns random features of points, which are much alike up to a distance of `width`; the last is always 1."""
    mixtures, phases = _mixtures(scaled.shape[1], count)
    found = torch.ones(len(scaled), count + 1)
    waves = torch.addmm(phases, scaled, mixtures / width).cos_()
    found[:, :-1] = waves.mul_((2 / count) ** 0.5)
    return found


def balanced(labels: Float[Tensor, "n t"]) -> Float[Tensor, "t"]:
    """Returns weights of tokens with which objects and what is around them count the same."""
    objects = labels[1:].sum(0)
    return objects / objects.sum().clamp(min=1) + (1 - objects) / (1 - objects).sum().clamp(min=1)


def learned(lessons: Sequence[Lesson]) -> Float[Tensor, "f n"] | None:
    """Returns weights of features that sum to the share each channel has of a token; `None` without examples.

    Frames whose masks were given count as much as all others together.
    """
    gram, target = torch.zeros_like(lessons[0].gram), torch.zeros(())
    for given in (True, False):
        some = [each for each in lessons if each.given == given]
        for each in some:
            gram, target = gram + each.gram / len(some), target + each.target / len(some)
    level = gram.diagonal().mean()
    return torch.linalg.solve(gram + RIDGE * level * torch.eye(len(gram)), target) if level > 0 else None


@cache
def _mixtures(channels: int, count: int) -> tuple[Float[Tensor, "c f"], Float[Tensor, "f"]]:
    """Returns the directions and phases of the cosines, always the same."""
    random = torch.Generator().manual_seed(0)
    return torch.randn(channels, count, generator=random), 2 * torch.pi * torch.rand(count, generator=random)
