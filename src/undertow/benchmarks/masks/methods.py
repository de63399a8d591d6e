"""Models as methods of the task "masks": objects are tracked from their first masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from undertow.affinity import get_preset
from undertow.base.options import assigned
from undertow.benchmarks.core.jobs import JobPredictor, MakeJob, named
from undertow.benchmarks.core.methods import Method
from undertow.benchmarks.masks.baselines import Cues, Images
from undertow.masks import LabelMap
from undertow.tracking import TrackSettings, make_refiner


@dataclass(frozen=True)
class MaskPredictor(JobPredictor):
    """Tracks masks; see `undertow.benchmarks.masks.baselines.Predictor`."""

    sites: ClassVar[tuple[str, ...]] = ("track",)

    def __call__(self, images: Images, cues: Cues) -> Iterator[LabelMap]:
        """Yields a label map for every image."""
        return (result.labels for result in self.results(images, cues))


def model_method(
    model: str | Path,
    preset: str | None = None,
    settings: TrackSettings | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    label: str | None = None,
    assignments: Sequence[str] = (),
) -> Method:
    """Returns mask tracking with a model, named "model+preset+lost+refine" with what of it is given.

    Args:
        model: Name or folder of a model.
        preset: Propagation preset, `None` for the model's own.
        settings: Tracking options; the protocol's token budget applies unless they name a size.
        device: Where the model runs.
        dtype: Number type of the model.
        label: Method name, if not as above.
        assignments: Settings that are changed, see `undertow.benchmarks.core.jobs.assigned`.

    Raises:
        SettingsError: if the preset or model is unknown.
        WeightsUnavailable: if the weights are unavailable.
    """
    # Benchmarks show frames once, in order.
    chosen = replace(settings or TrackSettings(), direction="forward")
    if preset is not None:
        chosen = replace(chosen, preset=get_preset(preset).name)
    chosen = assigned(chosen, assignments)
    segmenter = chosen.segmenter or "sam-vit-h"
    refiner = make_refiner(chosen.refine, segmenter, device)
    # Lost objects are part of what is measured, so a method that keeps them has a name of its own.
    parts = (chosen.refine, Path(segmenter).name if chosen.refine == "sam" else None) if refiner else ()
    name = label or named(Path(model).name, preset, chosen.lost, *parts, assignments=assignments)
    facts = {} if refiner is None else {"refiner": refiner.facts()}
    return MakeJob(MaskPredictor, "track", model, chosen, device, dtype).method("masks", name, **facts)
