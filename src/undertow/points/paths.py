"""One path through the best few places of every frame: large jumps have to pay for themselves.

Each point's path is found by itself, by dynamic programming (Viterbi) over its candidates, from the frame it is given
on outward. A jump costs its squared length up to a limit, so that a point that was hidden may come back anywhere.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from jaxtyping import Float, Int
from torch import Tensor

# Length of a jump, in tokens, beyond which it costs no more.
LIMIT = 6.0


def peaks(costs: Float[Tensor, "n s"], grid: tuple[int, int], count: int) -> Int[Tensor, "n k"]:
    """Returns the best `count` cells of each row that no neighbour exceeds, best first; the best cell is the first.

    Args:
        costs: the larger the better, from 0 to 1.
        grid: (height, width) in cells.
        count: how many; where there are fewer peaks, cells beside them fill up.
    """
    maps = costs.reshape(len(costs), 1, *grid)
    top = functional.max_pool2d(maps, 3, 1, 1)
    # Costs are at most 1, so that what is no peak comes after all peaks.
    ranked = torch.where(maps == top, maps, maps - 2).flatten(1)
    return ranked.topk(min(count, costs.shape[1]), dim=-1).indices


def best_path(
    start: Float[Tensor, "n 2"],
    places: Sequence[Float[Tensor, "n k 2"]],
    scores: Sequence[Float[Tensor, "n k"]],
    weight: float,
) -> list[Int[Tensor, "n"]]:
    """Returns which candidate of each frame lies on the best path.

    Args:
        start: where each point begins, in cells.
        places: candidates of the frames in the order of the walk.
        scores: how good each is, as a logarithm.
        weight: cost of a jump by one token.
    """
    if not places:
        return []
    before, total = start[:, None], start.new_zeros(len(start), 1)
    came = []
    for here, score in zip(places, scores, strict=True):
        jump = (here[:, :, None] - before[:, None]).square().sum(-1).clamp(max=LIMIT**2)
        best, from_where = (total[:, None] - weight * jump).max(-1)
        came.append(from_where)
        before, total = here, best + score
    chosen = [total.argmax(-1)]
    for from_where in came[:0:-1]:
        chosen.append(from_where.gather(1, chosen[-1][:, None])[:, 0])
    return chosen[::-1]
