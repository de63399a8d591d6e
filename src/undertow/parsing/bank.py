"""Labelled tokens that are remembered: of a fixed number from the whole video, each token has had the same chance."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor


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
class FeatureBank:
    """A sample of all labelled tokens so far (reservoir sampling, algorithm R of Vitter, 1985).

    Attributes:
        capacity: Most tokens kept.
        seed: Of the draws, which depend on nothing else but how many tokens came before.
        kept: The tokens kept; None before the first.
        seen: How many tokens came so far.
    """

    capacity: int
    seed: int = 0
    kept: Labelled | None = None
    seen: int = 0

    def add(self, rows: Labelled) -> "FeatureBank":
        """Returns the bank after more tokens have come, each being kept with probability capacity / seen."""
        if not len(rows):
            return self
        room = self.capacity - (0 if self.kept is None else len(self.kept))
        first, rest = _split(rows, room)
        kept = first if self.kept is None else self.kept + first
        seen = self.seen + len(first)
        # The i-th token (from 0) takes a random place among i + 1, if that is one of those kept.
        places = np.random.default_rng((self.seed, seen)).integers(0, seen + 1 + np.arange(len(rest)))
        coming = np.flatnonzero(places < self.capacity)
        if len(coming):
            # Of several that take the same place the last stays.
            taken, last = np.unique(places[coming][::-1], return_index=True)
            kept = kept + rest  # Widens the labels too.
            source = np.arange(self.capacity)
            source[taken] = self.capacity + coming[::-1][last]
            order = torch.from_numpy(source).to(kept.tokens.device)
            kept = Labelled(kept.tokens[order], kept.targets[order])
        return FeatureBank(self.capacity, self.seed, kept, self.seen + len(rows))


def _split(rows: Labelled, place: int) -> tuple[Labelled, Labelled]:
    return Labelled(rows.tokens[:place], rows.targets[:place]), Labelled(rows.tokens[place:], rows.targets[place:])
