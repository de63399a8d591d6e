"""What parsing must beat: every place has the class of the anchor's places that are nearest in colour and position."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.benchmarks.core.methods import Baseline
from undertow.benchmarks.core.protocols import EvaluationProtocol
from undertow.benchmarks.masks.baselines import Predictor
from undertow.masks import LabelMap, object_ids, soft_one_hot, upsample_argmax
from undertow.refinement.bilateral import upsample_guided

# Distances that are held at a time: 64 MB.
BLOCK = 1 << 24


@dataclass(frozen=True)
class ColourSettings:
    """Options of the colour baseline.

    Attributes:
        neighbours: Places of the anchors that vote, all alike, as in VidSeg's classifier.
        position: How much of the picture's longer side counts as much as the difference of black and white in one
            channel; the inverse of it, so that 0 leaves position out.
        tokens: Places a frame is seen as, as tokens of `stride` pixels; the protocol's budget, or one token per
            `stride` pixels, if not given.
        stride: Pixels per side of a token.
    """

    neighbours: int = 4
    position: float = 1.0
    tokens: int | None = None
    stride: int = 8

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Returns rows and columns of places of a frame."""
        scale = 1 / self.stride if self.tokens is None else (self.tokens / (height * width)) ** 0.5
        return max(1, min(height, round(height * scale))), max(1, min(width, round(width * scale)))


def colour_labels(
    images: Iterator[UInt8[np.ndarray, "h w 3"]], cues: Mapping[int, LabelMap], settings: ColourSettings
) -> Iterator[LabelMap]:
    """Yields for every image the map of the nearest of the anchors' places so far, upsampled by the image.

    Probabilities are the share of the neighbours, and reach pixels as those of `turbo` do, so that only the features
    differ from it: mean colour and position of a token instead of what the model says of it.

    Args:
        images: RGB frames of one size.
        cues: Label map of each anchor, by the image's place, 0 being no label; one for place 0.
        settings: See `ColourSettings`.
    """
    known = torch.zeros(0, 5)
    shares: Float[Tensor, "n m"] = torch.zeros(0, 0)
    ids: list[int] = []
    for place, image in enumerate(images):
        size = (image.shape[0], image.shape[1])
        grid = settings.grid(*size)
        features = colour_features(image, grid, settings.position)
        if place in cues:
            found = sorted({*ids, *object_ids(cues[place])})
            shares = _widened(shares, ids, found)
            ids = found
            given = soft_one_hot(cues[place], ids, grid).flatten(1).T
            # A place that is mostly without a label says nothing.
            told = given[:, 0] < 0.5
            known = torch.cat([known, features[told]])
            shares = torch.cat([shares, given[told, 1:]])
        soft = nearest_shares(features, known, shares, settings.neighbours).T.reshape(len(ids), *grid)
        padded = torch.cat([torch.zeros(1, *grid), soft])
        yield upsample_argmax(upsample_guided(padded, image), ids, size).labels


def colour_features(image: UInt8[np.ndarray, "h w 3"], grid: tuple[int, int], position: float) -> Float[Tensor, "s 5"]:
    """Returns mean colour (0 to 1) and position (0 to `position` along the longer side) of each cell of a grid."""
    pixels = torch.from_numpy(image.copy()).movedim(-1, 0).float() / 255
    colours = functional.adaptive_avg_pool2d(pixels, grid).flatten(1).T
    height, width = image.shape[:2]
    scale = position / max(height, width)
    rows = (torch.arange(grid[0]) + 0.5) * height / grid[0] * scale
    columns = (torch.arange(grid[1]) + 0.5) * width / grid[1] * scale
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)
    return torch.cat([colours, places], 1)


def nearest_shares(
    features: Float[Tensor, "s d"], known: Float[Tensor, "n d"], shares: Float[Tensor, "n m"], neighbours: int
) -> Float[Tensor, "s m"]:
    """Returns the mean label shares of the nearest known places of each place (Euclidean, all neighbours alike)."""
    rows = max(1, BLOCK // max(1, len(known)))
    count = min(neighbours, len(known))
    blocks = torch.split(features, rows)
    parts = [shares[torch.cdist(each, known).topk(count, largest=False).indices].mean(1) for each in blocks]
    return torch.cat(parts)


def _widened(shares: Float[Tensor, "n m"], ids: list[int], wider: list[int]) -> Float[Tensor, "n k"]:
    """Returns label shares with a column for each of `wider`, which has all of `ids`."""
    result = shares.new_zeros(len(shares), len(wider))
    result[:, [wider.index(number) for number in ids]] = shares
    return result


@dataclass(frozen=True)
class MakeColour:
    """Makes the predictor of the colour baseline, which sees no finer picture than a model under the same protocol."""

    settings: ColourSettings = ColourSettings()

    def __call__(self, protocol: EvaluationProtocol) -> Predictor:
        """Returns the predictor, with the protocol's token budget unless its settings have one."""
        own = self.settings
        chosen = own if own.tokens is not None else ColourSettings(**(asdict(own) | {"tokens": protocol.tokens}))
        return lambda images, cues: colour_labels(images, cues, chosen)


BASELINES = {"colour": Baseline("colour", "parse", MakeColour(), asdict(ColourSettings()))}
