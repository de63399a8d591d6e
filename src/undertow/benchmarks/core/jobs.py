"""Models as methods: the job that a command runs into a folder, driven without one over the images of a sample."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from undertow.backbones import Backbone, load
from undertow.base import SilentProgress
from undertow.base.options import assigned
from undertow.benchmarks.core.methods import Method, weights_facts
from undertow.benchmarks.core.sample import EvaluationProtocol
from undertow.runs.task import Given
from undertow.tasks import TASKS
from undertow.video import Clip, Video


@dataclass(frozen=True)
class JobPredictor(ABC):
    """A predictor that drives a job; each wing says how its samples become cues, and results predictions.

    Attributes:
        task: Name of the task in `undertow.tasks`.
        asked: What the benchmark calls it.
        sites: Purposes of the model's sites that are read; what lies behind them is not loaded.
        backbone: The model.
        settings: Options, of the task's class.
    """

    task: ClassVar[str]
    asked: ClassVar[str]
    sites: ClassVar[tuple[str, ...]]
    backbone: Backbone
    settings: Any

    @abstractmethod
    def __call__(self, images: Iterator[UInt8[np.ndarray, "h w 3"]], cues: Any) -> Any:
        """Returns what the wing's task asks of a method, see `BenchmarkTask.predict`."""

    @classmethod
    @abstractmethod
    def chosen(cls, preset: str | None, settings: Any) -> Any:
        """Returns settings, the usual ones if there are none, with what a preset changes of them.

        Raises:
            SettingsError: if there is no such preset.
        """

    @classmethod
    def budgeted(cls, settings: Any, protocol: EvaluationProtocol) -> Any:
        """Returns settings with the protocol's token budget, unless they name a size."""
        sized = settings.tokens is not None or settings.size is not None
        return settings if sized else replace(settings, tokens=protocol.tokens)

    @classmethod
    def described(cls, settings: Any, device: str | None) -> tuple[Sequence[str | None], Mapping[str, Any]]:
        """Returns what of settings is part of a method's name, and what decides its results besides them."""
        return (), {}

    def results(self, images: Iterable[UInt8[np.ndarray, "h w 3"]], cues: Any) -> Iterator[Any]:
        """Yields the job's result of every image.

        Args:
            images: Frames of one size; a list, if they may have to be read again.
            cues: What the task works with, by the places of images.
        """
        clip, progress = Clip(Video(images)), SilentProgress()
        job = TASKS[self.task].start(self.settings, self.backbone, clip, Given(cues), None, progress)
        return job.run(clip, progress)


@dataclass(frozen=True)
class MakeJob:
    """Loads a model and makes the predictor of a task with it.

    Attributes:
        kind: Class of the predictor.
        model: Name or folder of a model.
        settings: Options, see `JobPredictor.budgeted`.
        device: Where the model runs.
        dtype: Number type of the model.
    """

    kind: type[JobPredictor]
    model: str | Path
    settings: Any
    device: str | None = None
    dtype: str | None = None

    def __call__(self, protocol: EvaluationProtocol) -> JobPredictor:
        """Returns the predictor."""
        settings = self.kind.budgeted(self.settings, protocol)
        backbone = load(self.model, device=self.device, dtype=self.dtype, sites=self.kind.sites)
        return self.kind(backbone, settings)


def job_method(
    kind: type[JobPredictor],
    model: str | Path,
    preset: str | None = None,
    settings: Any = None,
    *,
    device: str | None = None,
    dtype: str | None = None,
    label: str | None = None,
    assignments: Sequence[str] = (),
) -> Method:
    """Returns a task done by a model as a method, named "model+preset+..." with what of it is given.

    Args:
        kind: What drives the job.
        model: Name or folder of a model.
        preset: A preset of the task, `None` for the model's own.
        settings: Options of the task; the protocol's token budget applies unless they name a size.
        device: Where the model runs.
        dtype: Number type of the model.
        label: Method name, if not as above.
        assignments: Settings that are changed, see `undertow.base.options.assigned`.

    Raises:
        SettingsError: if the preset or model is unknown.
        WeightsUnavailable: if the weights are unavailable.
    """
    chosen = assigned(kind.chosen(preset, settings), assignments)
    parts, facts = kind.described(chosen, device)
    name = label or named(Path(model).name, preset, *parts, assignments=assignments)
    about = {"model": weights_facts(model), "device": device, "dtype": dtype}
    make = MakeJob(kind, model, chosen, device, dtype)
    return Method(name, make, {**about, **asdict(chosen), **facts}, kind.asked, device)


def named(*parts: str | None, assignments: Sequence[str] = ()) -> str:
    """Returns the usual name of a method: what is given of its parts and what was set, joined."""
    changes = (re.sub(r"[^\w.-]+", "-", assignment) for assignment in assignments)
    return "+".join((*(part for part in parts if part), *changes))
