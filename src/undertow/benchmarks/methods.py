"""What is compared: a method is a name, the settings that decide its results, and a way to make a predictor."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from undertow.affinity import get_preset
from undertow.backbones import load, locate
from undertow.base import SettingsError
from undertow.benchmarks.baselines import FLOW_BASELINES, FlowSettings, copy_labels, flow_labels
from undertow.benchmarks.protocols import EvaluationProtocol
from undertow.masks import LabelMap
from undertow.tracking import TrackSettings, track
from undertow.video import Video

BASELINES = ("copy", "farneback", "dis")

Predictor = Callable[[Iterator[UInt8[np.ndarray, "h w 3"]], Mapping[int, LabelMap]], Iterator[LabelMap]]
"""From the images of one sample and the masks it starts from to a label map per image, at native size.

The masks are label maps of the objects that start at an image, by that image's place among those shown. It is asked
for one label map at a time and may read ahead by a bounded number of images.
"""


@dataclass(frozen=True)
class Method:
    """One thing to measure.

    Attributes:
        name: names its folder and its rows.
        make_predictor: called once per run, only if something is left to do; loads what the predictor needs.
        settings: everything that decides the results besides protocol and data, as plain JSON values. A stored
            result with other settings is not used again.
    """

    name: str
    make_predictor: Callable[[EvaluationProtocol], Predictor]
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w+-][\w.+-]*", self.name):
            raise SettingsError(f"method name '{self.name}' cannot name a folder; use letters, digits and . _ + -")


def make_methods(
    models: Iterable[str | Path] = (),
    presets: Iterable[str | None] = (None,),
    baselines: Iterable[str] = (),
    *,
    settings: TrackSettings | None = None,
    device: str | None = None,
    dtype: str | None = None,
) -> list[Method]:
    """Returns every baseline, then every model with every preset.

    Args:
        models: model names or folders.
        presets: propagation presets, `None` for a model's own.
        baselines: "copy", "farneback", "dis".
        settings: tracking options that all models share.
        device: where models run.
        dtype: number type of models.

    Raises:
        SettingsError: for an unknown baseline or model.
        WeightsUnavailable: if a model's weights are not to be had; nothing has run by then.
    """
    methods = [baseline_method(name) for name in baselines]
    presets = list(presets)
    for model in models:
        methods += [model_method(model, preset, settings, device=device, dtype=dtype) for preset in presets]
    return methods


def baseline_method(name: str, settings: FlowSettings | None = None, *, label: str | None = None) -> Method:
    """Returns a baseline: "copy", or optical flow by "farneback" or "dis".

    Args:
        name: which baseline.
        settings: options of a flow baseline, for sweeps; their estimator must be `name`.
        label: method name, if not `name`.

    Raises:
        SettingsError: if there is no such baseline, or it has no such settings.
    """
    if name == "copy" and settings is None:
        return Method(label or name, lambda protocol: copy_labels, {"baseline": name})
    if name not in FLOW_BASELINES:
        what = f"baseline '{name}' is not one of {', '.join(BASELINES)}"
        raise SettingsError("baseline 'copy' has no settings" if name == "copy" else what)
    flow = settings or FLOW_BASELINES[name]
    if flow.estimator != name:
        raise SettingsError(f"baseline '{name}' was given settings for '{flow.estimator}'")

    def make(protocol: EvaluationProtocol) -> Predictor:
        budgeted = flow if flow.tokens is not None else replace(flow, tokens=protocol.tokens)
        return lambda images, cues: flow_labels(images, cues, budgeted)

    return Method(label or name, make, {"baseline": name, **asdict(flow)})


def model_method(
    model: str | Path,
    preset: str | None = None,
    settings: TrackSettings | None = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    label: str | None = None,
) -> Method:
    """Returns mask tracking with a model, named "model+preset+lost" with what of it is given.

    Args:
        model: name or folder of a model.
        preset: propagation preset, `None` for the model's own.
        settings: tracking options; the protocol's token budget applies unless they name a size.
        device: where the model runs.
        dtype: number type of the model.
        label: method name, if not as above.

    Raises:
        SettingsError: if the preset or model is unknown.
        WeightsUnavailable: if the weights are not to be had.
    """
    chosen = settings or TrackSettings()
    if preset is not None:
        chosen = replace(chosen, preset=get_preset(preset).name)

    def make(protocol: EvaluationProtocol) -> Predictor:
        backbone = load(model, device=device, dtype=dtype)
        sized = chosen.tokens is not None or chosen.size is not None
        budgeted = chosen if sized else replace(chosen, tokens=protocol.tokens)

        def predict(images: Iterator[UInt8[np.ndarray, "h w 3"]], cues: Mapping[int, LabelMap]) -> Iterator[LabelMap]:
            for result in track(Video(images), mask=cues, model=backbone, settings=budgeted):
                yield result.labels

        return predict

    facts = {"model": _weights(model), "device": device, "dtype": dtype, **asdict(chosen)}
    stem = Path(model).name
    # Lost objects are part of what is measured, so a method that keeps them has a name of its own.
    parts = [stem, preset, chosen.lost]
    return Method(label or "+".join(part for part in parts if part), make, facts)


def _weights(model: str | Path) -> dict[str, Any]:
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
