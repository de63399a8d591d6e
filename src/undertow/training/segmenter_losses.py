"""The losses of Segment Anything (Kirillov et al. 2023, arXiv 2304.02643): focal, dice, and the error of its scores."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid


def focal_loss(
    logits: Float[Tensor, "*n h w"], targets: Float[Tensor, "*n h w"], gamma: float = 2.0
) -> Float[Tensor, "*n"]:
    """Returns the focal loss of each mask (Lin et al. 2017): cross-entropy weighted by (1 - p)^gamma, pixel mean."""
    sign = 2 * targets - 1
    return -((-sign * logits).sigmoid() ** gamma * logsigmoid(sign * logits)).mean((-2, -1))


def dice_loss(logits: Float[Tensor, "*n h w"], targets: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n"]:
    """Returns one minus the soft dice coefficient of each mask (Milletari et al. 2016), one pixel added to both."""
    found = logits.sigmoid()
    both = (found * targets).sum((-2, -1))
    return 1 - (2 * both + 1) / (found.sum((-2, -1)) + targets.sum((-2, -1)) + 1)


def overlaps(logits: Float[Tensor, "*n h w"], targets: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n"]:
    """Returns the intersection over union of each mask, taken where its logits are positive; 1 if both are empty."""
    found, wanted = logits > 0, targets > 0.5
    union = (found | wanted).sum((-2, -1))
    return torch.where(union > 0, (found & wanted).sum((-2, -1)) / union.clamp(min=1), 1.0)


def balanced_loss(logits: Float[Tensor, "*n h w"], targets: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n"]:
    """Returns the cross-entropy of each mask with inside and outside counting the same, whatever their areas."""
    inside, outside = targets.sum((-2, -1)), (1 - targets).sum((-2, -1))
    missed = -(targets * logsigmoid(logits)).sum((-2, -1)) / inside.clamp(min=1)
    added = -((1 - targets) * logsigmoid(-logits)).sum((-2, -1)) / outside.clamp(min=1)
    return (missed + added) / 2


def mask_losses(
    logits: Float[Tensor, "n m h w"], scores: Float[Tensor, "n m"], targets: Float[Tensor, "n h w"], balance: float = 0
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n m"]]:
    """Returns the loss of each prompt, and how good each of its masks really is.

    Of several masks only the best one is held to the target (twenty parts focal, one part dice), so that the others
    may answer what else the prompt could mean. The scores of all of them are held to the true overlap.

    Args:
        logits: masks that answer each prompt.
        scores: overlaps that the network expects.
        targets: what was asked for.
        balance: share, from 0 to 1, of the balanced cross-entropy, which counts four times, in the place of the focal
            loss. Without it a network that knows nothing yet learns first of all that masks are empty, since most
            pixels are outside, and takes long to come back from there.
    """
    wanted = targets[:, None].expand_as(logits)
    each = dice_loss(logits, wanted) + 20 * (1 - balance) * focal_loss(logits, wanted)
    if balance:
        each = each + 4 * balance * balanced_loss(logits, wanted)
    with torch.no_grad():
        quality = overlaps(logits, wanted)
    return each.amin(1) + (scores - quality).square().mean(1), quality
