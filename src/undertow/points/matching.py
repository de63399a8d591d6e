"""The matching cost of a few points against a whole frame, without ever forming all pairs of tokens.

DiffTrack (arXiv 2506.17220) compares every token of an anchor frame with every token of another, per head, as a softmax
over the other frame (forward) and one over the anchor frame (backward), and averages both over heads. Only the rows of
the points asked for are needed. The forward rows are their own softmax. The backward rows need, for every token of the
other frame, the denominator over all tokens of the anchor frame: its log-sum-exp, taken block by block.

A point between tokens is described by the bilinear mix of the four descriptors around it.
"""

import torch
from jaxtyping import Float
from torch import Tensor

# Numbers in one temporary block: 64 MB in float32.
BLOCK = 1 << 24
# Smaller shares count as e^-40: products of two stay normal numbers, and a CPU is many times slower with others.
FLOOR = -40.0


def interpolate(
    descriptors: Float[Tensor, "a s d"], grid: tuple[int, int], places: Float[Tensor, "n 2"]
) -> Float[Tensor, "a n d"]:
    """Returns descriptors at places between cell centres, bilinear; beyond the outermost centres they are constant.

    Args:
        descriptors: of the cells, row-major.
        grid: (height, width) in cells.
        places: (x, y) in cells; the centre of cell (row 0, column 0) is (0, 0).
    """
    height, width = grid
    x = places[:, 0].clamp(0, width - 1)
    y = places[:, 1].clamp(0, height - 1)
    left, top = x.floor().long().clamp(max=max(width - 2, 0)), y.floor().long().clamp(max=max(height - 2, 0))
    right, below = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    along, down = (x - left)[:, None], (y - top)[:, None]

    def at(row: Tensor, column: Tensor) -> Float[Tensor, "a n d"]:
        return descriptors[:, row * width + column].float()

    upper = at(top, left) * (1 - along) + at(top, right) * along
    lower = at(below, left) * (1 - along) + at(below, right) * along
    return upper * (1 - down) + lower * down


def forward_rows(
    descriptors: Float[Tensor, "a n d"], keys: Float[Tensor, "a s d"], scale: float
) -> Float[Tensor, "n s"]:
    """Returns the head-mean of each point's softmax over the tokens of a frame.

    Args:
        descriptors: queries of the points, in their own frame.
        keys: of the frame that is searched.
        scale: logits are q·k times this.
    """
    rows = []
    step = max(1, BLOCK // (keys.shape[0] * keys.shape[1]))
    keys = keys.float().mT
    for block in torch.split(descriptors, step, dim=1):
        logits = (block.float() @ keys) * scale
        rows.append((logits - logits.logsumexp(-1, keepdim=True)).clamp_(min=FLOOR).exp_().mean(0))
    return torch.cat(rows) if rows else descriptors.new_zeros(0, keys.shape[-1])


def log_denominators(
    queries: Float[Tensor, "a s d"], keys: Float[Tensor, "a m d"], scale: float
) -> Float[Tensor, "a s"]:
    """Returns the log-sum-exp of every query's logits over all keys, block by block of queries.

    Args:
        queries: of the frame that is searched.
        keys: of the points' own frame.
        scale: logits are q·k times this.
    """
    step = max(1, BLOCK // (keys.shape[0] * keys.shape[1]))
    keys = keys.float().mT
    blocks = [((block.float() @ keys) * scale).logsumexp(-1) for block in torch.split(queries, step, dim=1)]
    return torch.cat(blocks, dim=1)


def backward_rows(
    descriptors: Float[Tensor, "a n d"],
    queries: Float[Tensor, "a s d"],
    denominators: Float[Tensor, "a s"],
    scale: float,
) -> Float[Tensor, "n s"]:
    """Returns the head-mean of how much of each token's softmax over the points' own frame falls on each point.

    Args:
        descriptors: keys of the points, in their own frame.
        queries: of the frame that is searched.
        denominators: of these queries, see `log_denominators`.
        scale: logits are q·k times this.
    """
    rows = []
    step = max(1, BLOCK // (queries.shape[0] * queries.shape[1]))
    queries = queries.float().mT
    for block in torch.split(descriptors, step, dim=1):
        rows.append(((block.float() @ queries) * scale - denominators[:, None]).clamp_(min=FLOOR).exp_().mean(0))
    return torch.cat(rows) if rows else descriptors.new_zeros(0, queries.shape[-1])
