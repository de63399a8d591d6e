"""Self-attention that starts as a matcher: how the embedded denoisers, and `tiny-untrained`, are initialised."""

import math

import torch
from diffusers import UNet2DConditionModel


@torch.no_grad()
def matcher_start(unet: UNet2DConditionModel, seed: int, logit: float = 5.0) -> None:
    """Makes every self-attention of `unet` begin as a similarity search: a token matches itself best.

    In each `attn1`, `to_q` becomes a scaled random orthogonal matrix and `to_k` a copy of it, so that q·k is the inner
    product of the tokens' normalised hidden states. The change is in place and a function of the
    architecture, `seed` and `logit` only; what training may do to both is `undertow.training.matchers`' matter.

    Args:
        unet: a denoiser whose self-attention is called `attn1`, as in diffusers' transformer blocks.
        seed: of the orthogonal matrices; the n-th self-attention in module order draws the n-th matrix.
        logit: the mean over heads of q·k/√d of a token with itself.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, module in unet.named_modules():
        if name.rpartition(".")[2] != "attn1":
            continue
        inner, channels = module.to_q.weight.shape
        head_dim = inner // module.heads
        # The input x is layer-normed, so |x|² = channels. With W = g·U and U orthogonal, |Wx|² summed over the heads
        # is g²·min(inner, channels) (on average over directions if inner < channels), and so the mean over heads of
        # |q_head|²/√d is g²·min(inner, channels) / (heads·√d). Solve for g; for inner = channels it is √(logit/√d).
        gain = math.sqrt(logit * module.heads * math.sqrt(head_dim) / min(inner, channels))
        start = torch.empty(inner, channels)
        torch.nn.init.orthogonal_(start, gain=gain, generator=generator)
        module.to_q.weight.copy_(start)
        module.to_k.weight.copy_(start)
