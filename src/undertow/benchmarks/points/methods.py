"""Models as methods of the task "points": points are followed from the frame they are given on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float64, UInt8

from undertow.base.options import assigned
from undertow.benchmarks.core.jobs import JobPredictor, MakeJob, named
from undertow.benchmarks.core.methods import Method
from undertow.points import PointSettings, Tracks, get_point_preset

Images = Iterator[UInt8[np.ndarray, "h w 3"]]
PointPredictor = Callable[[Images, Float64[np.ndarray, "q 3"]], Tracks]
"""From the images of one sample and the queries (frame among them, x, y) to tracks on all of them."""


@dataclass(frozen=True)
class PointModel(JobPredictor):
    """Follows points with a model; see `PointPredictor`."""

    sites: ClassVar[tuple[str, ...]] = ("points",)

    def __call__(self, images: Images, queries: Float64[np.ndarray, "q 3"]) -> Tracks:
        """Returns the tracks of the queries on all images."""
        found = list(self.results(images, queries))
        positions, visible, confidence = (
            np.stack([getattr(each, name) for each in found], axis=1) for name in ("positions", "visible", "confidence")
        )
        return Tracks(positions, visible, confidence, queries)


def model_method(
    model: str | Path,
    preset: str | None = None,
    settings: PointSettings | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    label: str | None = None,
    assignments: Sequence[str] = (),
) -> Method:
    """Returns point tracking with a model, named "model+preset" with what of it is given.

    Args:
        model: Name or folder of a model.
        preset: a preset of point tracking, `None` for the usual one.
        settings: Options; the protocol's token budget applies unless they name a size.
        device: Where the model runs.
        dtype: Number type of the model.
        label: Method name, if not as above.
        assignments: Settings that are changed, see `undertow.benchmarks.core.jobs.assigned`.

    Raises:
        SettingsError: if the preset or model is unknown.
        WeightsUnavailable: if the weights are unavailable.
    """
    chosen = settings or PointSettings()
    if preset is not None:
        chosen = replace(chosen, preset=get_point_preset(preset).name)
    chosen = assigned(chosen, assignments)
    name = label or named(Path(model).name, preset, assignments=assignments)
    # What a preset says is part of what is measured, and may change under one name.
    preset_facts = asdict(get_point_preset(chosen.preset or "points"))
    return MakeJob(PointModel, "points", model, chosen, device, dtype).method("points", name, preset=preset_facts)
