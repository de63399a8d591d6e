"""Self-attentions that stay similarity searches while they train: one metric for queries and keys, of constant length.

Left free, queries and keys part ways and their lengths come to differ from token to token. For denoising that does no
harm; for tracking a key that is long in every comparison attracts the labels of everything. Here `to_k` shares the
weights of `to_q`, a multiple of an orthogonal matrix behind a layer norm without gain and offset, so that with one head
q·k is a cosine times a learnt sharpness. What is compared remains free: the metric is learnt by the layers in front,
and values by `to_v`, which takes over the norm's gain. The exported weights are ordinary ones.
"""

from collections.abc import Iterator

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from jaxtyping import Float
from torch import Tensor, nn


def tie_matchers(unet: UNet2DConditionModel) -> None:
    """Makes every self-attention share one weight between queries and keys, and freezes the norm in front of it."""
    for block in _blocks(unet):
        block.attn1.to_k.weight = block.attn1.to_q.weight
        block.norm1.requires_grad_(False)


@torch.no_grad()
def project_matchers(unet: UNet2DConditionModel) -> None:
    """Replaces every query matrix by the nearest multiple of an orthogonal one, after each step of training."""
    for block in _blocks(unet):
        weight = block.attn1.to_q.weight
        turn = _nearest_orthogonal(weight)
        weight.copy_(turn * (turn * weight).sum() / len(weight))


def untie_matchers(unet: UNet2DConditionModel) -> None:
    """Gives keys weights of their own again, equal to those of the queries, as files need them."""
    for block in _blocks(unet):
        block.attn1.to_k.weight = nn.Parameter(block.attn1.to_q.weight.detach().clone())


def _nearest_orthogonal(matrix: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """Returns the orthogonal polar factor, by Newton-Schulz iteration.

    A singular value decomposition gives the same, but LAPACK's need not converge where all singular values are nearly
    equal, as they are here.
    """
    unit = torch.eye(len(matrix), device=matrix.device)
    turn = matrix / matrix.norm() * len(matrix) ** 0.5
    if (turn.T @ turn - unit).norm() >= 1:
        # Far from orthogonal: below this bound no singular value is above 1, where the iteration always converges.
        turn = matrix / (matrix.abs().sum(0).max() * matrix.abs().sum(1).max()).sqrt()
    for _ in range(60):
        gram = turn.T @ turn
        turn = 1.5 * turn - 0.5 * turn @ gram
        if (gram - unit).norm() < 1e-4:
            break
    return turn


def _blocks(unet: UNet2DConditionModel) -> Iterator[BasicTransformerBlock]:
    """Yields the transformer blocks, each with a self-attention `attn1` and the norm `norm1` in front of it."""
    for module in unet.modules():
        if isinstance(module, BasicTransformerBlock):
            yield module
