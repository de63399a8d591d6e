"""Models as methods: the job that a command runs into a folder, driven without one over the images of a sample."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from undertow.backbones import Backbone, load
from undertow.base import SilentProgress
from undertow.benchmarks.core.methods import Method, weights_facts
from undertow.benchmarks.core.protocols import EvaluationProtocol
from undertow.runs.task import Given
from undertow.tasks import TASKS
from undertow.video import Clip, Video


@dataclass(frozen=True)
class JobPredictor(ABC):
    """A predictor that drives a job; each wing says how its samples become cues, and results predictions.

    Attributes:
        task: Name of the task in `undertow.tasks`.
        backbone: The model.
        settings: Options, of the task's class.
        sites: Purposes of the model's sites that are read; what lies behind them is not loaded.
    """

    sites: ClassVar[tuple[str, ...]]
    task: str
    backbone: Backbone
    settings: Any

    @abstractmethod
    def __call__(self, images: Iterator[UInt8[np.ndarray, "h w 3"]], cues: Any) -> Any:
        """Returns what the wing's task asks of a method, see `BenchmarkTask.predict`."""

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
        task: Name of the task.
        model: Name or folder of a model.
        settings: Options; the protocol's token budget applies unless they name a size.
        device: Where the model runs.
        dtype: Number type of the model.
    """

    kind: type[JobPredictor]
    task: str
    model: str | Path
    settings: Any
    device: str | None = None
    dtype: str | None = None

    def __call__(self, protocol: EvaluationProtocol) -> JobPredictor:
        """Returns the predictor."""
        settings = self.settings
        if settings.tokens is None and settings.size is None:
            settings = replace(settings, tokens=protocol.tokens)
        backbone = load(self.model, device=self.device, dtype=self.dtype, sites=self.kind.sites)
        return self.kind(self.task, backbone, settings)

    def method(self, task: str, name: str, **facts: Any) -> Method:
        """Returns the method.

        Args:
            task: What it can be asked, by the benchmark's name.
            name: Its name.
            facts: What else decides its results.

        Raises:
            SettingsError: if the model is unknown.
            WeightsUnavailable: if the weights are unavailable.
        """
        about = {"model": weights_facts(self.model), "device": self.device, "dtype": self.dtype}
        return Method(name, self, {**about, **asdict(self.settings), **facts}, task, self.device)


def named(*parts: str | None, assignments: Sequence[str] = ()) -> str:
    """Returns the usual name of a method: what is given of its parts and what was set, joined."""
    changes = (re.sub(r"[^\w.-]+", "-", assignment) for assignment in assignments)
    return "+".join((*(part for part in parts if part), *changes))
