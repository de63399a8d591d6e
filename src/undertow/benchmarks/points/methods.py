"""Models as methods of the task "points": points are followed from the frame they are given on."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from undertow.backbones import load
from undertow.benchmarks.core.methods import Method, weights_facts
from undertow.benchmarks.core.protocols import EvaluationProtocol
from undertow.points import PointSettings, PointTracker, Tracks, get_point_preset
from undertow.video import Video

PointPredictor = Callable[[Iterator[UInt8[np.ndarray, "h w 3"]], Float64[np.ndarray, "q 3"]], Tracks]
"""From the images of one sample and the queries (frame among them, x, y) to tracks on all of them."""


@dataclass(frozen=True)
class MakePointTracker:
    """Loads a model and makes the predictor that follows points with it."""

    model: str | Path
    settings: PointSettings
    device: str | None = None
    dtype: str | None = None

    def __call__(self, protocol: EvaluationProtocol) -> PointPredictor:
        """Returns the predictor, with the protocol's token budget unless the settings name a size."""
        backbone = load(self.model, device=self.device, dtype=self.dtype, sites="points")
        sized = self.settings.tokens is not None or self.settings.size is not None
        budgeted = self.settings if sized else replace(self.settings, tokens=protocol.tokens)

        def predict(images: Iterator[UInt8[np.ndarray, "h w 3"]], queries: Float64[np.ndarray, "q 3"]) -> Tracks:
            with Video(images) as video, PointTracker(backbone, budgeted) as tracker:
                tracker.observe(video)
                return tracker.follow(queries)

        return predict


def model_method(
    model: str | Path,
    preset: str | None = None,
    settings: PointSettings | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    label: str | None = None,
) -> Method:
    """Returns point tracking with a model, named "model+preset" with what of it is given.

    Args:
        model: Name or folder of a model.
        preset: a preset of point tracking, `None` for the usual one.
        settings: Options; the protocol's token budget applies unless they name a size.
        device: Where the model runs.
        dtype: Number type of the model.
        label: Method name, if not as above.

    Raises:
        SettingsError: if the preset or model is unknown.
        WeightsUnavailable: if the weights are unavailable.
    """
    chosen = settings or PointSettings()
    if preset is not None:
        chosen = replace(chosen, preset=get_point_preset(preset).name)
    facts = {"model": weights_facts(model), "device": device, "dtype": dtype, **asdict(chosen)}
    # What a preset says is part of what is measured, and may change under one name.
    facts["preset"] = asdict(get_point_preset(chosen.preset or "points"))
    name = label or "+".join(part for part in (Path(model).name, preset) if part)
    return Method(name, MakePointTracker(model, chosen, device, dtype), facts, "points", device)
