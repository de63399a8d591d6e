"""Models as methods of the task "masks": objects are tracked from their first masks."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from undertow.affinity import get_preset
from undertow.backbones import load
from undertow.benchmarks.core.methods import Method, weights_facts
from undertow.benchmarks.core.protocols import EvaluationProtocol
from undertow.benchmarks.masks.baselines import Predictor
from undertow.masks import LabelMap
from undertow.tracking import TrackSettings, make_refiner, track
from undertow.video import Video


@dataclass(frozen=True)
class MakeTracker:
    """Loads a model and makes the predictor that tracks masks with it."""

    model: str | Path
    settings: TrackSettings
    device: str | None = None
    dtype: str | None = None
    refine: str = "none"
    segmenter: str = "sam-vit-h"

    def __call__(self, protocol: EvaluationProtocol) -> Predictor:
        """Returns the predictor, with the protocol's token budget unless the settings name a size."""
        refiner = make_refiner(self.refine, self.segmenter, self.device)
        backbone = load(self.model, device=self.device, dtype=self.dtype, sites="track")
        sized = self.settings.tokens is not None or self.settings.size is not None
        budgeted = self.settings if sized else replace(self.settings, tokens=protocol.tokens)

        def predict(images: Iterator[UInt8[np.ndarray, "h w 3"]], cues: Mapping[int, LabelMap]) -> Iterator[LabelMap]:
            for result in track(Video(images), cues, backbone, budgeted, refiner=refiner):
                yield result.labels

        return predict


def model_method(
    model: str | Path,
    preset: str | None = None,
    settings: TrackSettings | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    label: str | None = None,
    refine: str = "none",
    segmenter: str = "sam-vit-h",
) -> Method:
    """Returns mask tracking with a model, named "model+preset+lost+refine" with what of it is given.

    Args:
        model: Name or folder of a model.
        preset: Propagation preset, `None` for the model's own.
        settings: Tracking options; the protocol's token budget applies unless they name a size.
        device: Where the model runs.
        dtype: Number type of the model.
        label: Method name, if not as above.
        refine: What makes better masks of the tracked ones: "none", "guided", "crf" or "sam".
        segmenter: What "sam" refines with.

    Raises:
        SettingsError: if the preset or model is unknown.
        WeightsUnavailable: if the weights are unavailable.
    """
    chosen = settings or TrackSettings()
    if preset is not None:
        chosen = replace(chosen, preset=get_preset(preset).name)
    facts = {"model": weights_facts(model), "device": device, "dtype": dtype, **asdict(chosen)}
    stem = Path(model).name
    # Lost objects are part of what is measured, so a method that keeps them has a name of its own.
    refiner = make_refiner(refine, segmenter, device)
    parts = (stem, preset, chosen.lost, refine if refiner else None, Path(segmenter).name if refine == "sam" else None)
    name = label or "+".join(part for part in parts if part)
    if refiner is not None:
        facts |= {"refiner": refiner.facts()}
    return Method(name, MakeTracker(model, chosen, device, dtype, refine, segmenter), facts, device=device)
