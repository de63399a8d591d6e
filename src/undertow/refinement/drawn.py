"""Points and boxes drawn as a mask prompt: a small network sees a place in a picture sooner than it learns to read it.

With them goes what GrabCut cuts out there by the colours of the one picture, for the network to correct.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Logits of a mask prompt lie within this.
LIMIT = 8.0
# Share of a mask prompt that is added to the answer: what the network gives is a correction, and fine detail, which it
# would lose on its coarse tokens, stays as it is.
KEPT = 0.5
# Logit in the middle of a box or of a cut, and the reach of a point in mask cells.
MIDDLE, REACH = 4.0, 2.5


def draw_prompts(
    side: int,
    cells: int,
    *,
    points: Float[Tensor, "p k 2"] | None = None,
    labels: Int[Tensor, "p k"] | None = None,
    boxes: Float[Tensor, "p 4"] | None = None,
    cuts: Float[Tensor, "p cells cells"] | None = None,
) -> Float[Tensor, "p cells cells"]:
    """Returns prompts as logits: 0 where nothing is known.

    A box has its ellipse, positive inside and negative in the corners, unless there is a cut to take its place; what is
    outside is certainly not the object. A point is a spot, positive or negative.

    Args:
        side: Of the segmenter's input in pixels.
        cells: Of the mask grid along each side of the input.
        points: Places (x, y) in pixels of the input, with pixel centres at 0.5.
        labels: Of the points: 1 for inside the object, 0 for outside; all inside if left out.
        boxes: (x0, y0, x1, y1) in pixels of the input.
        cuts: How much of each cell was cut out, in [0, 1].
    """
    given = points if points is not None else boxes
    if given is None:
        raise ValueError("give points or boxes")
    centres = (torch.arange(cells, device=given.device) + 0.5) * (side / cells)
    drawn = given.new_zeros(len(given), cells, cells) if cuts is None else MIDDLE * (2 * cuts - 1)
    if boxes is not None:
        x0, y0, x1, y1 = (each[:, None] for each in boxes.unbind(1))
        across = (2 * centres - x0 - x1) / (x1 - x0).clamp(min=1)
        down = (2 * centres - y0 - y1) / (y1 - y0).clamp(min=1)
        inside = MIDDLE * (1 - down[:, :, None] ** 2 - across[:, None] ** 2) if cuts is None else drawn
        outside = (down[:, :, None].abs() > 1) | (across[:, None].abs() > 1)
        drawn = torch.where(outside, -LIMIT, inside)
    if points is not None:
        signs = torch.ones(points.shape[:2], device=given.device) if labels is None else 2.0 * labels - 1
        gaps = (centres[:, None] - points[..., 1, None, None]) ** 2 + (centres - points[..., 0, None, None]) ** 2
        spots = torch.exp(-gaps / (2 * (REACH * side / cells) ** 2))
        drawn = drawn + LIMIT * (signs[..., None, None] * spots).sum(1)
    return drawn.clamp(-LIMIT, LIMIT)
