"""Prompts made from true masks, as a person or a tracker would give them: clicks, loose boxes and damaged masks.

Places are (x, y) in pixels of the network's input; masks have half its size, so that mask pixel (i, j) has its centre
at (2j + 1, 2i + 1).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate


def clicks(mask: Bool[Tensor, "n h w"], count: int, random: Generator) -> Float[Tensor, "n count 2"]:
    """Returns `count` places (x, y) drawn from each mask, uniform and independent; an empty mask is hit anywhere."""
    chances = mask.flatten(1).float()
    chances[chances.sum(1) == 0] = 1
    cells = torch.multinomial(chances, count, replacement=True, generator=random)
    corner = torch.stack([cells % mask.shape[2], cells // mask.shape[2]], -1)
    return 2 * (corner + torch.rand(corner.shape, generator=random))


def corrections(
    wanted: Bool[Tensor, "n h w"], found: Bool[Tensor, "n h w"], random: Generator
) -> tuple[Float[Tensor, "n 1 2"], Int[Tensor, "n 1"]]:
    """Returns a click in the error region of each mask and its label: 1 if something is missing, 0 if too much is.

    Where nothing is wrong, the click falls on the mask.
    """
    wrong = wanted ^ found
    nothing = ~wrong.flatten(1).any(1)
    places = clicks(torch.where(nothing[:, None, None], wanted, wrong), 1, random)
    column, row = (places[:, 0] / 2).long().unbind(1)
    return places, wanted[torch.arange(len(wanted)), row, column].long()[:, None]


def loose_boxes(mask: Bool[Tensor, "n h w"], jitter: float, random: Generator) -> Float[Tensor, "n 4"]:
    """Returns the box (x0, y0, x1, y1) around each mask, each side moved at random.

    Args:
        mask: masks that are not empty.
        jitter: deviation of each side, as a share of the box's extent along that axis; at most 20 pixels, as in SAM.
        random: where the movement comes from.
    """
    sides = []
    for axis in (1, 2):
        some = mask.any(axis)
        last = some.shape[1] - some.flip(1).float().argmax(1)
        sides.append(torch.stack([some.float().argmax(1), last], 1) * 2.0)
    across, down = sides
    box = torch.stack([across[:, 0], down[:, 0], across[:, 1], down[:, 1]], 1)
    extent = (box[:, 2:] - box[:, :2]).repeat(1, 2)
    moved = box + (torch.randn(box.shape, generator=random) * jitter * extent).clamp(-20, 20)
    # A box never turns inside out.
    low, high = moved[:, :2], moved[:, 2:]
    return torch.cat([torch.minimum(low, high - 1), torch.maximum(high, low + 1)], 1).clamp(0, 2.0 * mask.shape[2])


def damaged_logits(mask: Float[Tensor, "n h w"], random: Generator) -> Float[Tensor, "n h w"]:
    """Returns each mask as a tracker on a coarse grid would give it, as logits of -8 to 8.

    It is averaged to cells of 1.5 to 6 mask pixels, moved by up to half a cell and enlarged again, and smooth noise is
    added, weak or strong, fine or coarse: it shifts borders, tears pieces out and lets neighbouring ground in. The
    logits are those of what comes out as a probability.
    """
    side = mask.shape[1]

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=random))

    def enlarged(coarse: Tensor) -> Tensor:
        return interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)[:, 0]

    cells = max(2, round(side / uniform(1.5, 6)))
    reach = side // (2 * cells)
    shift = torch.randint(-reach, reach + 1, (2,), generator=random).tolist()
    soft = enlarged(adaptive_avg_pool2d(torch.roll(mask, shift, (1, 2))[:, None], cells))
    knots = int(torch.randint(4, 17, (), generator=random))
    noise = enlarged(torch.randn(len(mask), 1, knots, knots, generator=random))
    level = uniform(-0.15, 0.15)
    return torch.logit(soft + uniform(0.02, 0.3) * noise + level, eps=1e-4).clamp(-8, 8)
