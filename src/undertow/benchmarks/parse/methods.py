"""Methods of the task "parse": each way of making class maps with a model, and what any of them must beat.

That is every place having the class of the anchor's places that are nearest in colour and position.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.affinity import PRESETS
from undertow.base import SettingsError
from undertow.benchmarks.core.jobs import JobPredictor, job_method
from undertow.benchmarks.core.methods import Baseline, Method
from undertow.benchmarks.core.sample import EvaluationProtocol
from undertow.benchmarks.masks.methods import Cues, Images, MaskPredictor, Predictor
from undertow.masks import VOID, LabelMap, object_ids, soft_one_hot, upsample_argmax
from undertow.parsing import ParseSettings
from undertow.parsing.settings import Method as ParsingMethod
from undertow.parsing.settings import Quality
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
            labelled = given[:, 0] < 0.5
            known = torch.cat([known, features[labelled]])
            shares = torch.cat([shares, given[labelled, 1:]])
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


# The ways by name; "propagate" moves the anchor's labels as masks are moved, with the tracker itself.
WAYS: Mapping[str, ParseSettings] = {
    "turbo": ParseSettings(method="vidseg", quality="turbo"),
    "exact": ParseSettings(method="vidseg", quality="exact"),
    "emerdiff": ParseSettings(method="emerdiff", quality="exact"),
    "propagate": ParseSettings(method="propagate"),
}


@dataclass(frozen=True)
class ParsePredictor(JobPredictor):
    """Makes class maps of the images of one sample; see `undertow.benchmarks.masks.methods.Predictor`.

    Attributes:
        both_ways: It is shown all images at once, those before the first anchor too.
        clusters: Without anchors it makes clusters.
    """

    task: ClassVar[str] = "parse"
    asked: ClassVar[str] = "parse"
    sites: ClassVar[tuple[str, ...]] = ("parse", "correspond")
    both_ways: ClassVar[bool] = True
    clusters: ClassVar[bool] = True

    def __call__(self, images: Images, cues: Cues) -> Iterator[LabelMap]:
        """Yields a map for every image; in it and in the cues class c is c + 1 and void 0."""
        # To go backwards, images must be there to be read again.
        shown = list(images) if cues and min(cues) else images
        # 0, wrapping round, becomes void.
        anchors = {
            place: np.where(labels == VOID, VOID, labels - np.uint16(1)).astype(np.uint16)
            for place, labels in cues.items()
        }
        for result in self.results(shown, anchors):
            yield np.where(result.labels == VOID, 0, result.labels + np.uint16(1)).astype(np.uint16)

    @classmethod
    def chosen(cls, preset: str | None, settings: ParseSettings | None) -> ParseSettings:
        """Returns the settings given, or those of a way."""
        if preset is not None and preset not in WAYS:
            raise SettingsError(f"way of parsing '{preset}' is not one of {', '.join((*WAYS, *PRESETS))}")
        return settings or WAYS.get(preset or "", ParseSettings())


def model_method(
    model: str | Path, preset: str | None = None, settings: ParseSettings | None = None, **options: Any
) -> Method:
    """Returns a way of parsing with a model, named "model+way"; see `job_method`.

    A preset is a name of `WAYS`, or the preset of a tracker, whose masks are then classes.
    """
    if preset in PRESETS and preset not in WAYS:
        return job_method(MaskPredictor, model, preset, **options)
    return job_method(ParsePredictor, model, preset, settings, **options)


def parse_ways(methods: Iterable[str], qualities: Iterable[str], presets: Iterable[str] = ()) -> list[str]:
    """Returns the ways that `--method`, `--quality` and `--presets` name together, each once.

    "vidseg" is done in every quality named, "turbo" if none is; the other methods have no quality. Without a method,
    qualities are those of "vidseg".

    Raises:
        SettingsError: naming a method or quality that there is not.
    """
    methods, qualities = list(methods), list(qualities)
    _check_words("--method", methods, get_args(ParsingMethod))
    _check_words("--quality", qualities, get_args(Quality))
    ways: list[str] = []
    for method in methods or (["vidseg"] if qualities else []):
        ways += (qualities or ["turbo"]) if method == "vidseg" else [method]
    return list(dict.fromkeys((*ways, *presets)))


def _check_words(what: str, given: Iterable[str], known: tuple[str, ...]) -> None:
    stray = [each for each in given if each not in known]
    if stray:
        raise SettingsError(f"{what} '{stray[0]}' is not one of {', '.join(known)}")
