"""Labels that change little over time: the frames before and after lend theirs, along the model's own kernel."""

import torch
import torch.nn.functional as functional
from jaxtyping import Float
from torch import Tensor

from undertow.affinity import KernelSettings, compute_affinity


@torch.no_grad()
def vote_in_time(
    soft: Float[Tensor, "f m s"],
    features: Float[Tensor, "f s d"],
    grid: tuple[int, int],
    kernel: KernelSettings,
    weight: float,
) -> Float[Tensor, "f m s"]:
    """Returns every frame's labels mixed with those that its neighbours' tokens give it.

    Args:
        soft: Labels of a batch's tokens.
        features: Queries; tokens are alike by the cosine between them.
        grid: Rows and columns of tokens.
        kernel: How much a token listens to which (see `undertow.affinity`).
        weight: Of the neighbours, both together; 0 leaves labels as they are.
    """
    if weight == 0 or len(soft) < 2:
        return soft
    unit = functional.normalize(features.float(), dim=-1)[:, None]
    mixed = []
    for t in range(len(soft)):
        around = [n for n in (t - 1, t + 1) if 0 <= n < len(soft)]
        affinity = compute_affinity(unit[t], [unit[n] for n in around], grid, kernel)
        mixed.append(torch.lerp(soft[t], affinity.apply(soft[around]), weight))
    return torch.stack(mixed)
