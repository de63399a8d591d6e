"""Parsing as what benchmarks measure: one method for each way of making class maps with a model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np

from undertow.affinity import PRESETS
from undertow.base import SettingsError
from undertow.base.options import assigned
from undertow.benchmarks.core.jobs import JobPredictor, MakeJob, named
from undertow.benchmarks.core.methods import Method
from undertow.benchmarks.masks import methods as masks
from undertow.benchmarks.masks.baselines import Cues, Images
from undertow.masks import VOID, LabelMap
from undertow.parsing import ParseSettings
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
class ParsePredictor(JobPredictor):
    """Makes class maps of the images of one sample; see `undertow.benchmarks.masks.baselines.Predictor`.

    Attributes:
        both_ways: It is shown all images at once, those before the first anchor too.
        clusters: Without anchors it makes clusters.
    """

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


def model_method(
    model: str | Path,
    preset: str | None = None,
    settings: ParseSettings | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    label: str | None = None,
    assignments: Sequence[str] = (),
) -> Method:
    """Returns a way of parsing with a model, named "model+way".

    Args:
        model: Name or folder of a model.
        preset: A name of `WAYS`, or the preset of a tracker, whose masks are then classes; `None` for the default.
        settings: Options instead of those of a way.
        device: Where the model runs.
        dtype: Number type of the model.
        label: Method name, if not as above.
        assignments: Settings that are changed, see `undertow.benchmarks.core.jobs.assigned`.

    Raises:
        SettingsError: if the way or model is unknown.
        WeightsUnavailable: if the weights are unavailable.
    """
    if preset is not None and preset not in WAYS:
        if preset not in PRESETS:
            known = ", ".join((*WAYS, *PRESETS))
            raise SettingsError(f"way of parsing '{preset}' is not one of {known}")
        return masks.model_method(model, preset, device=device, dtype=dtype, label=label, assignments=assignments)
    chosen = assigned(settings or WAYS.get(preset or "", ParseSettings()), assignments)
    return MakeJob(ParsePredictor, "parse", model, chosen, device, dtype).method(
        "parse", label or named(Path(model).name, preset, assignments=assignments)
    )


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
