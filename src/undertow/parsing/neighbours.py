"""From tokens whose classes are known to the classes of others: nearest neighbours, and what is unlike all of them.

What comes into view later becomes a cluster of its own, not a wrong label.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int
from torch import Tensor

from undertow.parsing.clusters import kmeans

# Distances that are held at a time: 64 MB.
_MOST_DISTANCES = 1 << 24


@dataclass(frozen=True)
class Labelled:
    """Tokens and their labels, as rows.

    Attributes:
        tokens: Features.
        targets: Labels: one-hot, or shares of classes.
    """

    tokens: Float[Tensor, "l c"]
    targets: Float[Tensor, "l m"]

    def __len__(self) -> int:
        return len(self.tokens)

    def __add__(self, other: "Labelled") -> "Labelled":
        """Returns the rows of both; whichever knows fewer classes has none of the others."""
        classes = max(self.targets.shape[1], other.targets.shape[1])
        both = [widened(each.targets, classes) for each in (self, other)]
        return Labelled(torch.cat([self.tokens, other.tokens]), torch.cat(both))

    def sampled(self, most: int, seed: tuple[int, ...]) -> "Labelled":
        """Returns at most so many rows, drawn without replacement and in their order."""
        if len(self) <= most:
            return self
        rows = np.random.default_rng(seed).choice(len(self), most, replace=False)
        chosen = torch.from_numpy(np.sort(rows)).to(self.tokens.device)
        return Labelled(self.tokens[chosen], self.targets[chosen])


def widened(targets: Float[Tensor, "*l m"], classes: int) -> Float[Tensor, "*l k"]:
    """Returns labels with columns of zeros for classes that came later."""
    return functional.pad(targets, (0, classes - targets.shape[-1]))


@dataclass(frozen=True)
class NearestNeighbours:
    """The mean label of the nearest tokens by Euclidean distance, each counting alike (k = 4 in VidSeg, table 1).

    Attributes:
        tokens: Labelled tokens.
        targets: Their labels, one-hot or shares of classes.
        neighbours: How many are asked; all, if there are fewer tokens.
    """

    tokens: Float[Tensor, "l c"]
    targets: Float[Tensor, "l m"]
    neighbours: int = 4

    @torch.no_grad()
    def __call__(self, tokens: Float[Tensor, "n c"]) -> tuple[Float[Tensor, "n m"], Float[Tensor, " n"]]:
        """Returns the mean label of each token's neighbours, and the mean distance to them."""
        labels, distances = [], []
        lengths = self.tokens.square().sum(1)
        k = min(self.neighbours, len(self.tokens))
        rows = max(1, _MOST_DISTANCES // len(self.tokens))
        for start in range(0, len(tokens), rows):
            part = tokens[start : start + rows]
            # Of a token's own length nothing depends on who is near.
            near = torch.addmm(lengths, part, self.tokens.T, alpha=-2).topk(k, largest=False)
            labels.append(self.targets[near.indices].mean(1))
            squared = near.values + part.square().sum(1, keepdim=True)
            distances.append(squared.clamp(min=0).sqrt().mean(1))
        return torch.cat(labels), torch.cat(distances)


# A new cluster has this share of a frame's tokens or more, and some: fewer are noise.
_LEAST_SHARE, _LEAST_TOKENS = 0.005, 6


def usual_distance(tokens: Float[Tensor, "s c"], neighbours: int) -> float:
    """Returns the median, over the tokens of one frame, of the mean distance to the nearest others of the frame."""
    if len(tokens) < 2:
        return 0.0
    k = min(neighbours, len(tokens) - 1)
    # Every token is its own nearest neighbour, at distance 0.
    nearest = NearestNeighbours(tokens, tokens.new_zeros(len(tokens), 1), k + 1)
    return float(nearest(tokens)[1].median()) * (k + 1) / k


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
