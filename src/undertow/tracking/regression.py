"""Ridge regression on random features: what the tokens near objects say of the shares that objects have of others."""

from functools import cache

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

RIDGE = 0.01
# "Near" is within this share of the window's radius of tokens of which objects have more than this.
REACH, SOME = 2 / 3, 0.3


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


def normal_equations(
    features: Float[Tensor, "t f"], labels: Float[Tensor, "n t"], weights: Float[Tensor, "t"]
) -> tuple[Float[Tensor, "f f"], Float[Tensor, "f n"]]:
    """Returns the weighted products of features with features, and of features with soft labels."""
    weighted = (features * weights[:, None]).T
    return weighted @ features, weighted @ labels.T


def ridge(gram: Float[Tensor, "f f"], target: Float[Tensor, "f n"]) -> Float[Tensor, "f n"]:
    """Returns weights of features that sum to the share each channel has of a token, from normal equations."""
    return torch.linalg.solve(gram + RIDGE * gram.diagonal().mean() * torch.eye(len(gram)), target)


@cache
def _mixtures(channels: int, count: int) -> tuple[Float[Tensor, "c f"], Float[Tensor, "f"]]:
    """Returns the directions and phases of the cosines, always the same."""
    random = torch.Generator().manual_seed(0)
    return torch.randn(channels, count, generator=random), 2 * torch.pi * torch.rand(count, generator=random)
