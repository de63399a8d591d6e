"""Parsing as what benchmarks measure: one method for each way of making class maps with a model."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np
from jaxtyping import UInt8

from undertow.affinity import PRESETS
from undertow.backbones import Backbone, load
from undertow.base import SettingsError
from undertow.benchmarks.core.methods import Method, weights_facts
from undertow.benchmarks.core.protocols import EvaluationProtocol
from undertow.benchmarks.masks import methods as masks
from undertow.masks import LabelMap
from undertow.parsing import ParseSettings, predict_classes
from undertow.parsing.settings import Method as ParsingMethod
from undertow.parsing.settings import Quality

# The ways by name; "propagate" moves the anchor's labels as masks are moved, with the tracker itself.
WAYS: Mapping[str, ParseSettings] = {
    "turbo": ParseSettings(method="vidseg", quality="turbo"),
    "fast": ParseSettings(method="vidseg", quality="fast"),
    "exact": ParseSettings(method="vidseg", quality="exact"),
    "emerdiff": ParseSettings(method="emerdiff", quality="exact"),
    "propagate": ParseSettings(method="propagate"),
}


@dataclass(frozen=True)
class ParsePredictor:
    """Makes class maps of the images of one sample; see `undertow.benchmarks.core.methods.Predictor`.

    Attributes:
        backbone: The model.
        settings: How it is asked.
        both_ways: It is shown all images at once, those before the first anchor too.
        clusters: Without anchors it makes clusters.
    """

    backbone: Backbone
    settings: ParseSettings
    both_ways: ClassVar[bool] = True
    clusters: ClassVar[bool] = True

    def __call__(
        self, images: Iterator[UInt8[np.ndarray, "h w 3"]], cues: Mapping[int, LabelMap]
    ) -> Iterator[LabelMap]:
        """Yields a map for every image, in which class c is c + 1 and void 0."""
        # To go backwards, images must be there to be read again.
        shown = list(images) if cues and min(cues) else images
        return predict_classes(shown, cues, self.backbone, self.settings)


@dataclass(frozen=True)
class MakeParser:
    """Loads a model and makes the predictor that parses with it."""

    model: str | Path
    settings: ParseSettings
    device: str | None = None
    dtype: str | None = None

    def __call__(self, protocol: EvaluationProtocol) -> ParsePredictor:
        """Returns the predictor, with the protocol's token budget unless the settings name a size."""
        backbone = load(self.model, device=self.device, dtype=self.dtype, sites=("parse", "correspond"))
        sized = self.settings.tokens is not None or self.settings.size is not None
        budgeted = self.settings if sized else replace(self.settings, tokens=protocol.tokens)
        return ParsePredictor(backbone, budgeted)


def model_method(
    model: str | Path,
    preset: str | None = None,
    settings: ParseSettings | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    label: str | None = None,
) -> Method:
    """Returns a way of parsing with a model, named "model+way".

    Args:
        model: Name or folder of a model.
        preset: A name of `WAYS`, or the preset of a tracker, whose masks are then classes; `None` for the default.
        settings: Options instead of those of a way.
        device: Where the model runs.
        dtype: Number type of the model.
        label: Method name, if not as above.

    Raises:
        SettingsError: if the way or model is unknown.
        WeightsUnavailable: if the weights are unavailable.
    """
    if preset is not None and preset not in WAYS:
        if preset not in PRESETS:
            known = ", ".join((*WAYS, *PRESETS))
            raise SettingsError(f"way of parsing '{preset}' is not one of {known}")
        return masks.model_method(model, preset, device=device, dtype=dtype, label=label)
    chosen = settings or WAYS.get(preset or "", ParseSettings())
    facts = {"model": weights_facts(model), "device": device, "dtype": dtype, "parse": asdict(chosen)}
    name = label or "+".join(part for part in (Path(model).name, preset) if part)
    return Method(name, MakeParser(model, chosen, device, dtype), facts, task="parse", device=device)


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
