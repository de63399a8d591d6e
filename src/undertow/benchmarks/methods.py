"""What is compared: a method is a name, the settings that decide its results, and a way to make a predictor.

Methods travel to worker processes, so what makes their predictors is a function or a frozen dataclass of a module.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from undertow.affinity import get_preset
from undertow.backbones import load, locate
from undertow.base import SettingsError
from undertow.benchmarks.masks.baselines import FLOW_BASELINES, FlowSettings, copy_labels, flow_labels
from undertow.benchmarks.protocols import EvaluationProtocol
from undertow.benchmarks.tasks import get_task
from undertow.masks import LabelMap
from undertow.tracking import TrackSettings, make_refiner, track
from undertow.video import Video

Predictor = Callable[[Iterator[UInt8[np.ndarray, "h w 3"]], Mapping[int, LabelMap]], Iterator[LabelMap]]
"""From the images of one sample and the masks it starts from to a label map per image, at native size.

The masks are label maps of the objects that start at an image, by that image's place among those shown. It is asked
for one label map at a time and may read ahead by a bounded number of images. Other tasks than "masks" ask their
methods for other predictors, see `Task.predict`.
"""

MakePredictor = Callable[[EvaluationProtocol], Callable[..., Any]]


@dataclass(frozen=True)
class Method:
    """One thing to measure.

    Attributes:
        name: names its folder and its rows.
        make_predictor: called once in each process, only if something is left to do; loads what the predictor needs.
            A lambda or an inner function will do in one process; to be sent to a worker it must be importable.
        settings: everything that decides the results besides protocol and data, as plain JSON values. A stored
            result with other settings is not used again.
        task: what it can be asked.
        device: where it runs; `None` for the best device there is.
    """

    name: str
    make_predictor: MakePredictor
    settings: Mapping[str, Any]
    task: str = "masks"
    device: str | None = "cpu"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w+-][\w.+-]*", self.name):
            raise SettingsError(f"method name '{self.name}' cannot name a folder; use letters, digits and . _ + -")


@dataclass(frozen=True)
class Baseline:
    """A method that needs no model, known by name.

    Attributes:
        name: what the command line calls it.
        task: what it can be asked.
        make_predictor: see `Method`.
        settings: what decides its results besides its name.
    """

    name: str
    task: str
    make_predictor: MakePredictor
    settings: Mapping[str, Any] = field(default_factory=dict)


BASELINES: dict[str, Baseline] = {}

TASK_METHODS: dict[str, Callable[..., Method]] = {}
"""How a model is asked to do a task other than "masks": a function (model, preset, *, device, dtype, label) that
returns a `Method` of that task and names it by its model and preset, if these are given; by the task's name. The module
of a task's methods adds its own (`TASK_METHODS["points"] = point_method`) and is imported by `undertow.benchmarks`."""


def register_baseline(baseline: Baseline) -> Baseline:
    """Adds a baseline to the list and returns it.

    Raises:
        ValueError: if the name is taken.
    """
    if baseline.name in BASELINES:
        raise ValueError(f"baseline '{baseline.name}' is registered twice")
    BASELINES[baseline.name] = baseline
    return baseline


def simplest_baseline(task: str) -> list[str]:
    """Returns the name of the first baseline that does a task, in a list; an empty list if none does."""
    fitting = [each.name for each in BASELINES.values() if each.task in (task, get_task(task).predictors)]
    return fitting[:1]


def make_copy(protocol: EvaluationProtocol) -> Predictor:
    """Returns the predictor that repeats the masks it was given."""
    return copy_labels


@dataclass(frozen=True)
class MakeFlow:
    """Makes the predictor of a flow baseline, which sees no finer picture than a model under the same protocol."""

    settings: FlowSettings

    def __call__(self, protocol: EvaluationProtocol) -> Predictor:
        """Returns the predictor, with the protocol's token budget unless its settings have one."""
        flow = self.settings
        budgeted = flow if flow.tokens is not None else replace(flow, tokens=protocol.tokens)
        return lambda images, cues: flow_labels(images, cues, budgeted)


register_baseline(Baseline("copy", "masks", make_copy))
for _flow in FLOW_BASELINES.values():
    register_baseline(Baseline(_flow.estimator, "masks", MakeFlow(_flow), asdict(_flow)))


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
        backbone = load(self.model, device=self.device, dtype=self.dtype)
        sized = self.settings.tokens is not None or self.settings.size is not None
        budgeted = self.settings if sized else replace(self.settings, tokens=protocol.tokens)

        def predict(images: Iterator[UInt8[np.ndarray, "h w 3"]], cues: Mapping[int, LabelMap]) -> Iterator[LabelMap]:
            for result in track(Video(images), cues, backbone, budgeted, refiner=refiner):
                yield result.labels

        return predict


def make_methods(
    models: Iterable[str | Path] = (),
    presets: Iterable[str | None] = (None,),
    baselines: Iterable[str] = (),
    *,
    settings: TrackSettings | None = None,
    device: str | None = None,
    dtype: str | None = None,
    refine: str = "none",
    segmenter: str = "sam-vit-h",
    task: str = "masks",
) -> list[Method]:
    """Returns every baseline, then every model with every preset.

    Args:
        models: model names or folders.
        presets: propagation presets, `None` for a model's own.
        baselines: names of `BASELINES`.
        settings: tracking options that all models share.
        device: where models run.
        dtype: number type of models.
        refine: what makes better masks of the tracked ones: "none", "guided", "crf" or "sam".
        segmenter: what "sam" refines with.
        task: what models are asked to do, see `model_method`.

    Raises:
        SettingsError: for an unknown baseline or model.
        WeightsUnavailable: if a model's weights are not to be had; nothing has run by then.
    """
    methods = [baseline_method(name) for name in baselines]
    presets = list(presets)
    for model in models:
        methods += [
            model_method(
                model, preset, settings, device=device, dtype=dtype, refine=refine, segmenter=segmenter, task=task
            )
            for preset in presets
        ]
    return methods


def baseline_method(name: str, settings: FlowSettings | None = None, *, label: str | None = None) -> Method:
    """Returns a baseline, such as "copy", or optical flow by "farneback" or "dis".

    Args:
        name: which of `BASELINES`.
        settings: options of a flow baseline, for sweeps; their estimator must be `name`.
        label: method name, if not `name`.

    Raises:
        SettingsError: if there is no such baseline, or it has no such settings.
    """
    if name not in BASELINES:
        raise SettingsError(f"baseline '{name}' is not one of {', '.join(BASELINES)}")
    baseline = BASELINES[name]
    if settings is not None:
        if name not in FLOW_BASELINES:
            raise SettingsError(f"baseline '{name}' has no settings")
        if settings.estimator != name:
            raise SettingsError(f"baseline '{name}' was given settings for '{settings.estimator}'")
        baseline = replace(baseline, make_predictor=MakeFlow(settings), settings=asdict(settings))
    return Method(label or name, baseline.make_predictor, {"baseline": name, **baseline.settings}, baseline.task)


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
    task: str = "masks",
) -> Method:
    """Returns a task done by a model: mask tracking, named "model+preset+lost+refine" with what of it is given.

    Args:
        model: name or folder of a model.
        preset: propagation preset, `None` for the model's own.
        settings: tracking options; the protocol's token budget applies unless they name a size.
        device: where the model runs.
        dtype: number type of the model.
        label: method name, if not as above.
        refine: what makes better masks of the tracked ones: "none", "guided", "crf" or "sam".
        segmenter: what "sam" refines with.
        task: what the model is asked to do; those of `TASK_METHODS` have presets of their own and neither `settings`
            nor refiners. For any other, masks are tracked.

    Raises:
        SettingsError: if the preset or model is unknown.
        WeightsUnavailable: if the weights are not to be had.
    """
    if task in TASK_METHODS:
        return TASK_METHODS[task](model, preset, device=device, dtype=dtype, label=label)
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


def weights_facts(model: str | Path) -> dict[str, Any]:
    """Returns what a model is: its card, if it has one, and a digest of its weight files.

    A name alone would not do: weights under one name change while a model is being trained.
    """
    located = locate(str(model))
    card, folder = located.card, located.path
    digest = hashlib.sha256()
    for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".json"):
            with path.open("rb") as handle:
                digest.update(path.relative_to(folder).as_posix().encode())
                digest.update(hashlib.file_digest(handle, "sha256").digest())
    return {"card": None if card is None else asdict(card), "sha256": digest.hexdigest()}
