"""Tokens unlike all that are labelled: what comes into view later becomes a cluster of its own, not a wrong label."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from undertow.parsing.classifiers import NearestNeighbours
from undertow.parsing.clusters import kmeans

# A new cluster has this share of a frame's tokens or more, and some: fewer are noise.
_LEAST_SHARE, _LEAST_TOKENS = 0.005, 6


def usual_distance(tokens: Float[Tensor, "s c"], neighbours: int) -> float:
    """Returns the median, over the tokens of one frame, of the mean distance to the nearest others of the frame."""
    if len(tokens) < 2:
        return 0.0
    k = min(neighbours, len(tokens) - 1)
    # Every token is its own nearest neighbour, at distance 0.
    nearest = NearestNeighbours(tokens, tokens.new_zeros(len(tokens), 1), k + 1)
    return float(nearest.with_distances(tokens)[1].median()) * (k + 1) / k


def find_new(
    tokens: Float[Tensor, "f s c"],
    distances: Float[Tensor, "f s"],
    least: float,
    grid: tuple[int, int],
    *,
    most: int = 1,
    seed: int = 0,
) -> Int[Tensor, "f s"]:
    """Returns for every token the number of its new cluster, from 0, or -1.

    Args:
        tokens: Features of a batch.
        distances: From each token to the labelled ones.
        least: Distance from which on a token is unlike them.
        grid: Rows and columns of tokens.
        most: New clusters made at most.
        seed: Of the clusters.
    """
    frames = len(tokens)
    unlike = settled((distances > least).reshape(frames, *grid)).reshape(frames, -1)
    number = torch.full_like(distances, -1, dtype=torch.long)
    count = int(unlike.sum())
    if count < max(_LEAST_TOKENS, _LEAST_SHARE * tokens.shape[1]):
        return number
    number[unlike] = kmeans(tokens[unlike], min(most, count), seed=seed, tries=3).assigned
    return number


def settled(mask: Bool[Tensor, "f h w"]) -> Bool[Tensor, "f h w"]:
    """Returns the tokens of a mask that have most of their 3 x 3 neighbourhood in it: specks are noise."""
    share = torch.nn.functional.avg_pool2d(mask[:, None].float(), 3, stride=1, padding=1, count_include_pad=False)
    return mask & (share[:, 0] > 0.5)
