"""What a task is to a benchmark: how predictions are read and written, how a sample is scored, what a table says.

Each task has a wing of its own beside `core`, a package of the task's name whose module `task` has `TASK`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from undertow.base import MaskError, SettingsError
from undertow.benchmarks.core.files import Finding, file_remedy, folder_remedy
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.core.sample import Sample

#: The tasks, which are also the wings.
TASKS = ("masks", "parse", "points", "refer")

S = TypeVar("S", bound=Sample)
P = TypeVar("P")
Contra = TypeVar("Contra", contravariant=True)

Images = Iterator[UInt8[np.ndarray, "h w 3"]]
"""The frames a method is shown, in order, read when asked for."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """What scoring one sample gave.

    Attributes:
        frames: Names of the scored frames.
        series: Per scored frame, by unit (object, class, expression, track) and measure; all as long as `frames`,
            NaN where a unit does not count.
        totals: What must be added up over samples before it is divided (a confusion matrix, hits and pixels), as
            numbers or arrays.
        facts: Whatever else tables need, as plain JSON values.
    """

    frames: tuple[str, ...]
    series: Mapping[str, Mapping[str, Float64[np.ndarray, " t"]]] = field(default_factory=dict)
    totals: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Evaluator(Protocol[Contra]):
    """Scores one sample, prediction by prediction, in memory that does not grow with the video."""

    def update(self, index: int, prediction: Contra) -> Mapping[str, float]:
        """Takes the prediction of frame `index` and returns what is worth showing of it at once."""

    def result(self) -> Measurement:
        """Returns what all predictions so far amount to."""


class BenchmarkTask(ABC, Generic[S, P]):
    """One task: samples of type `S`, predictions of type `P`, one for each frame that is asked for.

    A task whose prediction is not per frame (tracks of points) asks for one prediction, numbered 0.

    Attributes:
        name: What datasets and commands call it.
        rules: The ways of scoring it knows. Numbers scored by different rules never share a table.
        free: Whether its rules go with any of its datasets, instead of those a dataset names.
        measures: Columns of a table, the headline first.
        predictors: The task whose methods it measures, if not its own.
        whole: Whether a prediction is of the whole video instead of a frame.
        layout: How results lie in their folder, in words.
    """

    name: ClassVar[str]
    rules: ClassVar[tuple[str, ...]]
    free: ClassVar[bool] = False
    measures: ClassVar[tuple[str, ...]]
    predictors: ClassVar[str | None] = None
    whole: ClassVar[bool] = False
    layout: ClassVar[str] = "<sequence>/<frame>.png"

    @abstractmethod
    def asked(self, sample: S, rules: str, shown: Sequence[int] | None = None) -> Sequence[int]:
        """Returns the frame numbers whose prediction counts, in order, out of those a protocol shows (or all)."""

    @abstractmethod
    def evaluator(self, sample: S, rules: str, shown: Sequence[int] | None = None) -> Evaluator[P]:
        """Returns what scores a sample; it passes over predictions of frames that are not asked for."""

    def check_shown(self, sample: S, rules: str, shown: Sequence[int], protocol: str) -> None:
        """Raises `SettingsError` if a protocol shows too few frames of a sample to score."""
        if not self.asked(sample, rules, shown):
            raise SettingsError(
                f"protocol '{protocol}' shows no frame of '{sample.name}' that can be scored; choose another protocol"
            )

    def check_results(self, folder: Path, sample: S) -> None:
        """Raises `SettingsError` if a folder of results has nothing for a sample."""
        own = sample.result(folder, suffix="")
        if not own.is_dir():
            raise SettingsError(
                f"predictions for '{sample.name}' are missing: '{own}' is no folder; "
                + folder_remedy(folder, sample.name, self.layout)
            )

    def holds(self, folder: Path, sample: S) -> bool:
        """Returns whether a folder of results has anything for a sample, where `check_results` lets it have nothing."""
        return True

    def kept(self, folder: Path, sample: S, shown: Sequence[int]) -> bool:
        """Returns whether a folder of results has all predictions of a sample that a protocol shows."""
        return all(sample.result(folder, sample.frames[index]).is_file() for index in shown)

    @abstractmethod
    def read(self, folder: Path, sample: S, index: int, rules: str) -> P:
        """Returns one prediction out of a folder of results, checked against the sample.

        Raises:
            UndertowError: naming the file and its problem.
        """

    @abstractmethod
    def write(self, folder: Path, sample: S, index: int, prediction: P) -> None:
        """Writes one prediction into a folder of results, atomically, so that `read` finds it."""

    @abstractmethod
    def predict(
        self, sample: S, predictor: Callable[..., Any], images: Images, shown: Sequence[int], rules: str = ""
    ) -> Iterator[tuple[int, P]]:
        """Yields a method's predictions with their frame numbers: of every shown frame, in order.

        What a method is given may depend on the rules, as the queries of points do.
        """

    @abstractmethod
    def check(self, sample: S) -> Iterator[Finding]:
        """Yields everything that is wrong or odd in the truth of a sample, reading all of it."""

    @abstractmethod
    def summarise(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Returns the figures of one method over samples as the official evaluator averages, one per measure."""

    def confusion(self, outcomes: Sequence[Outcome]) -> Int64[np.ndarray, "n n+1"] | None:
        """Returns how many pixels of each class (rows) were taken for which, `None` if the task has no classes."""
        return None

    def headline_measure(self, outcomes: Sequence[Outcome]) -> str:
        """Returns the name of the one figure that charts show and by which methods are compared sample by sample."""
        return next(iter(self.summarise(outcomes)))

    def headline(self, outcome: Outcome) -> float:
        """Returns that figure of a single sample."""
        return self.summarise([outcome])[self.headline_measure([outcome])]

    @staticmethod
    def found(folder: Path, sample: S, index: int) -> Path:
        """Returns the file with the prediction of a frame in a folder of results.

        Raises:
            MaskError: if there is none, with what to do about it.
        """
        path = sample.result(folder, sample.frames[index])
        if not path.is_file():
            raise MaskError(
                f"the prediction for frame '{path.stem}' of '{sample.name}' is missing: '{path}'; {file_remedy(path)}"
            )
        return path


def get_task(name: str) -> BenchmarkTask[Any, Any]:
    """Returns the task called `name`.

    Raises:
        SettingsError: if there is no such task.
    """
    if name not in TASKS:
        raise SettingsError(f"task '{name}' is not one of {', '.join(TASKS)}")
    task: BenchmarkTask[Any, Any] = import_module(f"undertow.benchmarks.{name}.task").TASK
    return task
