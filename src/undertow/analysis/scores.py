"""What one attention site knows of motion: matching accuracy, confidence and attention, per head and for all heads.

The measures are those of DiffTrack (arXiv 2506.17220) on generated clips, computed without a map of all pairs of
tokens: accuracy needs the rows of the tokens round the points and blockwise denominators, the other two need the rows
of the points' own tokens over the joint softmax. Its code reads the grid of tokens with x and y exchanged for the last
two; here they are read where the points are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Float32, Float64, Int
from torch import Tensor

from undertow.backbones import Backbone, Site
from undertow.base import SettingsError
from undertow.points.matching import BLOCK, backward_rows, decode, forward_rows, interpolate, log_denominators


def candidate_sites(backbone: Backbone) -> tuple[Site, ...]:
    """Returns every site of the network at which visual tokens are compared, in running order.

    Of a UNet these are all self-attentions, whatever their stride; of a video transformer, that of every block.

    Raises:
        SettingsError: if the network has none that is known.
    """
    sites = backbone.sites()
    if not sites:
        raise SettingsError(f"'{backbone.card.name}' has no attention that is known here; give another model")
    return sites


def groups(sites: Sequence[Site], frames: int, grid_cells: int, itemsize: int, budget: int) -> Iterator[list[Site]]:
    """Yields the sites in groups of one stride whose queries and keys together fit into a budget; at least one a group.

    Args:
        sites: In running order.
        frames: Seen together.
        grid_cells: Image pixels of a frame; a site of stride p has 1 / p² of that many tokens.
        itemsize: Bytes of a number.
        budget: In bytes.
    """
    for stride in dict.fromkeys(site.stride for site in sites):
        group: list[Site] = []
        held = 0
        for site in (site for site in sites if site.stride == stride):
            size = 2 * frames * (grid_cells // stride**2) * site.heads * site.head_dim * itemsize
            if group and held + size > budget:
                yield group
                group, held = [], 0
            group.append(site)
            held += size
        yield group


Reading = Literal["paper", "tracker"]
# DiffTrack counts a match nearer than 8 pixels on frames of 480 x 720 as right.
NEAR, REFERENCE = 8.0, (480, 720)
PARTS = ("cross", "self", "text")


@dataclass(frozen=True, eq=False)
class Points:
    """Points of the first frame of a clip and where they are on each of its latent frames.

    Attributes:
        tracks: (x, y) in pixels of the clip.
        visible: Whether the point can be seen there; True on the first frame.
        size: (height, width) of the clip in pixels.
    """

    tracks: Float32[np.ndarray, "q f 2"]
    visible: Bool[np.ndarray, "q f"]
    size: tuple[int, int]

    def cells(self, grid: tuple[int, int]) -> Float[Tensor, "q f 2"]:
        """Returns the tracks (x, y) in cells of a (height, width) grid; the centre of the first cell is (0, 0)."""
        ratio = np.array([grid[1] / self.size[1], grid[0] / self.size[0]])
        return torch.from_numpy(self.tracks * ratio - 0.5).float()

    def tokens(self, grid: tuple[int, int]) -> Int[Tensor, "q"]:
        """Returns the token of the first frame that each point lies in: row * width + column, y giving the row."""
        column, row = (self.cells(grid)[:, 0] + 0.5).floor().long().unbind(-1)
        return row.clamp(0, grid[0] - 1) * grid[1] + column.clamp(0, grid[1] - 1)

    def accuracy(self, found: Float[Tensor, "q f 2"], grid: tuple[int, int]) -> float:
        """Returns the percentage of visible (point, frame) pairs that are found nearer than 8 pixels of 480 x 720.

        The first frame counts, as in the paper, though there a point is found where it was asked for.

        Args:
            found: Places in cells, on every frame.
            grid: (height, width) in cells.
        """
        pixels = torch.tensor([self.size[1] / grid[1], self.size[0] / grid[0]])
        error = ((found.cpu() - self.cells(grid)) * pixels).norm(dim=-1).numpy()
        scale = (REFERENCE[0] * REFERENCE[1] / (self.size[0] * self.size[1])) ** 0.5
        return float(100 * (error * scale < NEAR)[self.visible].mean())


@dataclass(frozen=True, eq=False)
class SiteScores:
    """Scores of one site on one clip; entry `a` is of head a, the last one of all heads together.

    Attributes:
        accuracy: Matching accuracy in percent.
        confidence: By part ("cross" other frames, "self" the own one, "text"), the largest weight of the joint softmax.
        attention: By part, the sum of the weights.
    """

    accuracy: Float64[np.ndarray, "heads"]
    confidence: Mapping[str, Float64[np.ndarray, "heads"]]
    attention: Mapping[str, Float64[np.ndarray, "heads"]]


def score_heads(
    queries: Float[Tensor, "f a s d"],
    keys: Float[Tensor, "f a s d"],
    text_keys: Float[Tensor, "a n d"] | None,
    grid: tuple[int, int],
    points: Points,
    reading: Reading = "paper",
) -> SiteScores:
    """Returns the scores of a site's heads, and of their mean, which stands last.

    Args:
        queries: Of every frame, as they enter the dot product.
        keys: Likewise.
        text_keys: Of the text tokens in the same softmax; `None` if there are none.
        grid: (height, width) in tokens.
        points: What is followed.
        reading: How a place is read from matching costs, see `matches`.
    """
    scale = queries.shape[-1] ** -0.5
    found = matches(queries, keys, grid, points, scale, reading)
    accuracy = np.array([points.accuracy(each, grid) for each in found])
    own = queries[0][:, points.tokens(grid).to(queries.device)]
    return SiteScores(accuracy, *_joint(own, keys, text_keys, points.visible, scale))


def feature_accuracy(
    features: Float[Tensor, "f s c"],
    heads: int,
    grid: tuple[int, int],
    points: Points,
    reading: Reading = "paper",
    *,
    cosine: bool = False,
) -> Float64[np.ndarray, "heads"]:
    """Returns the matching accuracy in percent by the inner products of features, the softmax going forward only.

    Args:
        features: Of every token.
        heads: Channels are looked at in so many equal parts too; 1 if they are not those of heads.
        grid: (height, width) in tokens.
        points: What is followed.
        reading: How a place is read from matching costs.
        cosine: Whether features are brought to unit length first, which the paper does not do and DIFT does.

    Returns:
        Accuracies of the parts, and of all channels last; of all alone if there is but one part.
    """
    if cosine:
        # As sharp as the inner products of normalised heads: a token's logit with itself is √c.
        features = functional.normalize(features.float(), dim=-1) * features.shape[-1] ** 0.5
    whole = features[:, None]
    split = features.reshape(*features.shape[:2], heads, -1).transpose(1, 2)
    parts = [split[:, a : a + 1] for a in range(heads)] if heads > 1 else []
    found = [matches(x, x, grid, points, x.shape[-1] ** -0.5, reading, backward=False)[-1] for x in (*parts, whole)]
    return np.array([points.accuracy(each, grid) for each in found])


def matches(
    queries: Float[Tensor, "f a s d"],
    keys: Float[Tensor, "f a s d"],
    grid: tuple[int, int],
    points: Points,
    scale: float,
    reading: Reading = "paper",
    *,
    backward: bool = True,
) -> list[Float[Tensor, "q f 2"]]:
    """Returns for each head, and last for all heads together, where every point is found on every frame, in cells.

    The cost of a pair is the mean of the softmax of frame 0's token over the other frame and the softmax of the other
    frame's token over frame 0; of all heads, the mean of theirs.

    Args:
        queries: Of every frame.
        keys: Likewise.
        grid: (height, width) in tokens.
        points: What is followed; only the places on frame 0 are read.
        scale: Logits are q·k times this.
        reading: "paper" takes the best token for each of the four tokens round the point and averages the four
            matches, bilinearly; "tracker" mixes the four descriptors and averages costs round the best token.
        backward: Whether the second softmax takes part.
    """
    frames, heads, _, _ = queries.shape
    start = points.cells(grid)[:, 0].to(queries.device)
    corners, weights = _corners(start, grid)
    tokens, place = torch.unique(corners, return_inverse=True)
    where = torch.stack([tokens % grid[1], tokens // grid[1]], -1).float() if reading == "paper" else start
    asking, answering = interpolate(queries[0], grid, where), interpolate(keys[0], grid, where)
    found = [[start] for _ in range(heads + 1)]
    for frame in range(1, frames):
        total: Tensor | float = 0.0
        for head in range(heads):
            part = slice(head, head + 1)
            cost = forward_rows(asking[part], keys[frame, part], scale)
            if backward:
                below = log_denominators(queries[frame, part], keys[0, part], scale)
                cost = (cost + backward_rows(answering[part], queries[frame, part], below, scale)) / 2
            found[head].append(_places(cost, grid, reading, place, weights))
            total = total + cost / heads
        found[heads].append(
            _places(torch.as_tensor(total), grid, reading, place, weights) if heads > 1 else found[0][-1]
        )
    return [torch.stack(each, dim=1) for each in found]


def _corners(places: Float[Tensor, "q 2"], grid: tuple[int, int]) -> tuple[Int[Tensor, "q 4"], Float[Tensor, "q 4"]]:
    """Returns the four tokens whose centres surround each place, and their bilinear weights."""
    limits = places.new_tensor([grid[1] - 1, grid[0] - 1])
    places = torch.minimum(places.clamp(min=0), limits)
    low = torch.minimum(places.floor(), (limits - 1).clamp(min=0))
    high = torch.minimum(low + 1, limits)
    (x, y), (left, top), (right, below) = (places - low).unbind(-1), low.long().unbind(-1), high.long().unbind(-1)
    tokens = [row * grid[1] + column for row in (top, below) for column in (left, right)]
    weights = [down * across for down in (1 - y, y) for across in (1 - x, x)]
    return torch.stack(tokens, -1), torch.stack(weights, -1)


def _places(
    cost: Float[Tensor, "n s"],
    grid: tuple[int, int],
    reading: Reading,
    place: Int[Tensor, "q 4"],
    weights: Float[Tensor, "q 4"],
) -> Float[Tensor, "q 2"]:
    if reading == "tracker":
        return decode(cost, grid, "window", radius=1, power=1.0)
    best = decode(cost, grid, "token", radius=0, power=1.0)
    return (best[place] * weights[..., None]).sum(1)


def _joint(
    own: Float[Tensor, "a q d"],
    keys: Float[Tensor, "f a s d"],
    text_keys: Float[Tensor, "a n d"] | None,
    visible: Bool[np.ndarray, "q f"],
    scale: float,
) -> tuple[dict[str, Float64[np.ndarray, "heads"]], dict[str, Float64[np.ndarray, "heads"]]]:
    """Returns confidence and attention by part, of each head and of the heads' mean, averaged over points.

    A head's peaks are those of its own weights, and the mean's those of the mean weights, so that the last entry is
    not the average of the others.
    """
    heads, count, _ = own.shape
    frames, _, tokens, _ = keys.shape
    words = 0 if text_keys is None else text_keys.shape[1]
    peaks, masses = (np.zeros((heads + 1, count, frames + 1)) for _ in range(2))
    step = max(1, BLOCK // (frames * tokens + words))
    for first in range(0, count, step):
        rows = slice(first, first + step)
        mean: Tensor | float = 0.0
        for head in range(heads + 1):
            if head == heads:
                weights = torch.as_tensor(mean)
            else:
                every = keys[:, head].reshape(-1, keys.shape[-1]).float()
                if text_keys is not None:
                    every = torch.cat([every, text_keys[head].float()])
                weights = (scale * (own[head, rows].float() @ every.T)).softmax(-1)
                mean = mean + weights / heads
            pictures = weights[:, : frames * tokens].reshape(-1, frames, tokens)
            peaks[head, rows, :frames], masses[head, rows, :frames] = pictures.amax(-1).cpu(), pictures.sum(-1).cpu()
            if words:
                text = weights[:, frames * tokens :]
                peaks[head, rows, frames], masses[head, rows, frames] = text.amax(-1).cpu(), text.sum(-1).cpu()
    nothing = np.full(heads + 1, np.nan)
    # Points that are seen again on no other frame say nothing of other frames.
    seen = visible[:, 1:frames]
    again = seen.any(axis=1)
    cross = (peaks[:, :, 1:frames] * seen).sum(-1)[:, again] / seen.sum(-1)[again]
    confidence = {
        "cross": cross.mean(axis=1) if again.any() else nothing,
        "self": peaks[:, :, 0].mean(axis=1),
        "text": peaks[:, :, frames].mean(axis=1) if words else nothing,
    }
    attention = {
        "cross": masses[:, :, 1:frames].sum(-1).mean(axis=1),
        "self": masses[:, :, 0].mean(axis=1),
        "text": masses[:, :, frames].mean(axis=1) if words else nothing,
    }
    return confidence, attention
