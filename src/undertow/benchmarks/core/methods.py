"""What is compared: a method is a name, the settings that decide its results, and a way to make a predictor.

Each wing has in its module `methods` the baselines of its task (`BASELINES`) and what models do of it (`model_method`).
Methods travel to worker processes, so what makes their predictors is a function or a frozen dataclass of a module.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from undertow.base import SettingsError
from undertow.benchmarks.core.sample import EvaluationProtocol
from undertow.benchmarks.core.task import TASKS, get_task

MakePredictor = Callable[[EvaluationProtocol], Callable[..., Any]]
"""Makes what a task asks of a method, see `BenchmarkTask.predict`."""


@dataclass(frozen=True)
class Method:
    """One thing to measure.

    Attributes:
        name: Names its folder and its rows.
        make_predictor: Called once in each process, only if something is left to do; loads what the predictor needs.
            A lambda or an inner function will do in one process; to be sent to a worker it must be importable.
        settings: Everything that decides the results besides protocol and data, as plain JSON values. A stored
            result with other settings is not used again.
        task: What it can be asked.
        device: Where it runs; `None` for the best device there is.
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
        name: What the command line calls it.
        task: What it can be asked.
        make_predictor: See `Method`.
        settings: What decides its results besides its name.
    """

    name: str
    task: str
    make_predictor: MakePredictor
    settings: Mapping[str, Any] = field(default_factory=dict)

    def method(self, label: str | None = None) -> Method:
        """Returns the method of this name, or called `label`."""
        return Method(label or self.name, self.make_predictor, {"baseline": self.name, **self.settings}, self.task)


def baselines_of(task: str) -> Mapping[str, Baseline]:
    """Returns the baselines that do a task, by name, the simplest first."""
    found: dict[str, Baseline] = {}
    for wing in (get_task(task).predictors, task):
        if wing is not None:
            found |= import_module(f"undertow.benchmarks.{wing}.methods").BASELINES
    return found


def baseline_method(name: str, *, label: str | None = None) -> Method:
    """Returns a baseline, such as "copy", or optical flow by "farneback" or "dis".

    Args:
        name: Which of the tasks' baselines.
        label: Method name, if not `name`.

    Raises:
        SettingsError: if there is no such baseline.
    """
    known: dict[str, Baseline] = {}
    for task in TASKS:
        known |= baselines_of(task)
        if name in known:
            return known[name].method(label)
    raise SettingsError(f"baseline '{name}' is not one of {', '.join(known)}")


def make_methods(
    models: Iterable[str | Path] = (),
    presets: Iterable[str | None] = (None,),
    baselines: Iterable[str] = (),
    *,
    task: str = "masks",
    **options: Any,
) -> list[Method]:
    """Returns every baseline, then every model with every preset.

    Args:
        models: Model names or folders.
        presets: Presets of the task, `None` for a model's own.
        baselines: Names of baselines.
        task: What models are asked to do.
        **options: What else the wing's `model_method` takes, such as `device`.

    Raises:
        SettingsError: for an unknown baseline or model.
        WeightsUnavailable: if a model's weights are unavailable; nothing has run by then.
    """
    methods = [baseline_method(name) for name in baselines]
    presets = list(presets)
    for model in models:
        wing = import_module(f"undertow.benchmarks.{task}.methods")
        if not hasattr(wing, "model_method"):
            # Where no model does a task, what is asked of it is said when it is run.
            wing = import_module("undertow.benchmarks.masks.methods")
        methods += [wing.model_method(model, preset, **options) for preset in presets]
    return methods


def weights_facts(model: str | Path) -> dict[str, Any]:
    """Returns what a model is: its card, if it has one, and a digest of its weight files.

    A name alone would not do: weights under one name change while a model is being trained.
    """
    from undertow.backbones import locate
    from undertow.backbones.weights.locating import models_in

    first, *others = models_in(model)
    if others:
        return {"fused": [weights_facts(each) for each in (first, *others)]}
    located = locate(first)
    card, folder = located.card, located.path
    digest = hashlib.sha256()
    for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".json"):
            with path.open("rb") as handle:
                digest.update(path.relative_to(folder).as_posix().encode())
                digest.update(hashlib.file_digest(handle, "sha256").digest())
    return {"card": None if card is None else asdict(card), "sha256": digest.hexdigest()}
