"""Where the tokens of a reference are expected in a frame: what is far from there weighs less.

A Gaussian of the distance multiplies the weights of a reference whose tokens have been followed. Its logarithm,
-a |e - p|² for a token expected at e and a query at p, is 2a e·p - a |p|² - a |e|²: a product like that of queries and
keys, so that both just become four numbers longer and the kernel stays as it is.
"""

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from undertow.affinity.similarity import LOG2_E

# Standard deviation of the Gaussian as a share of the window's radius; from 0.17 to 0.42 it makes little difference.
SPREAD = 0.25


class Nearness:
    """What makes queries and keys longer, on one grid and for windows of one radius.

    Args:
        grid: Rows and columns of tokens.
        radius: Of the window, in tokens.
        device: Where queries and keys are.
    """

    def __init__(self, grid: tuple[int, int], radius: int, device: torch.device) -> None:
        height, width = grid
        # Counted from the middle of the grid, squares are small and lose fewer digits.
        self._middle = torch.tensor([(height - 1) / 2, (width - 1) / 2], device=device)
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        self._own = torch.stack([rows.flatten(), columns.flatten()], -1).to(device) - self._middle
        self._sharpness = LOG2_E / (2 * (SPREAD * max(radius, 1)) ** 2)

    def queries(self, queries: Float[Tensor, "a s e"]) -> Float[Tensor, "a s f"]:
        """Returns longer queries."""
        squares = self._own.square().sum(-1, keepdim=True)
        return _longer(queries, torch.cat([self._own, squares, torch.ones_like(squares)], -1))

    def keys(self, keys: Float[Tensor, "a s e"], places: Float[Tensor, "3 s"] | None) -> Float[Tensor, "a s f"]:
        """Returns longer keys of a reference.

        Args:
            keys: Those of the reference, row by row.
            places: Row and column at which each token is expected, and from 0 to 1 how far that is to be believed;
                None if they may be anywhere.
        """
        if places is None:
            return functional.pad(keys, (0, 4))
        expected, trust = places[:2].T.to(keys) - self._middle, places[2, :, None].to(keys) * self._sharpness
        squares = expected.square().sum(-1, keepdim=True)
        return _longer(keys, torch.cat([2 * trust * expected, -trust, -trust * squares], -1))


def _longer(vectors: Float[Tensor, "a s e"], by: Float[Tensor, "s n"]) -> Float[Tensor, "a s f"]:
    return torch.cat([vectors, by.expand(len(vectors), -1, -1)], -1)
