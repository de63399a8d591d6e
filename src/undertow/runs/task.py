"""What a task is to everything that runs tasks: a description, a job on one video, and the work that a run will be.

`runs` knows no task. A task describes itself with a `Task`, lists it in `undertow.tasks`, and the run folder, resuming,
estimates, interruption, views, JSON events, the command line and the benchmarks follow from that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import UInt8
    from torch import Tensor

    from undertow.backbones import Backbone
    from undertow.base import Progress
    from undertow.runs.cues import Cue
    from undertow.runs.folder import Folder
    from undertow.video import Clip, Frame

V = TypeVar("V")


class Result(Protocol):
    """What a job says of one frame; each task has its own, with at least this."""

    @property
    def index(self) -> int:
        """0-based number of the frame."""

    @property
    def time(self) -> Fraction:
        """Exact time in seconds."""

    @property
    def name(self) -> str:
        """Stem of the files made of the frame."""


@dataclass(frozen=True)
class Given(Generic[V]):
    """The cues of a run in the form that its task works with.

    Attributes:
        value: Label maps by frame, class maps by frame, points, or whatever else the task takes.
        log: What run.json keeps of them: each cue as it was typed, and the SHA-256 of what became of it.
        frames: Numbers of the frames that cues are on, ascending.
    """

    value: V
    log: tuple[Mapping[str, Any], ...] = ()
    frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class Phase:
    """A part of a run that has a peak of its own.

    Attributes:
        name: What is done in it, such as "observe" or "propagate".
        passes: Times the whole network, as far as it is read, runs for each frame.
        bytes: Bytes alive at the peak of the phase by what holds them, the weights apart.
        suffixes: Times only the end of the network runs for each frame.
        decodes: Pictures that are decoded for each frame.
    """

    name: str
    passes: float = 0.0
    bytes: Mapping[str, int] = field(default_factory=dict)
    suffixes: int = 0
    decodes: int = 0


@dataclass(frozen=True)
class Work:
    """What a run will take, from shapes alone.

    Attributes:
        input_size: Height and width that the model is shown, in pixels.
        grid: Rows and columns of tokens.
        labels: Number of objects, classes or points.
        phases: In the order they are run.
        warm: Frames until a frame costs what every later one costs, such as the references of a full memory.
        visits: Times that a frame is worked on, on average; a video that is gone through in both directions has two.
    """

    input_size: tuple[int, int]
    grid: tuple[int, int]
    labels: int
    phases: tuple[Phase, ...]
    warm: int = 0
    visits: float = 1.0


class Job(Protocol):
    """One video being worked on."""

    @property
    def batch(self) -> int:
        """Frames that are worked on together; a state is taken between batches only."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What else decides the results besides the resolved settings, such as the digest of what was learned."""

    def run(self, frames: Iterable["Frame"], progress: "Progress") -> Iterator[Result]:
        """Yields a result for each frame, in order; frames are taken as they are needed, a batch at a time."""

    def state(self) -> Mapping[str, "Tensor"]:
        """Returns what the frames to come depend on, by name; empty if nothing is to be gone on from."""

    def restore(self, tensors: Mapping[str, "Tensor"]) -> None:
        """Goes on where the job that `state` was asked of had come to."""

    def write(self, run: "Folder", result: Any) -> Mapping[str, Any]:
        """Writes the files of a frame and returns its line of the journal, from which `finish` makes tables.

        The line names the files under "files", relative to the folder.
        """

    def draw(self, run: "Folder", frame: "Frame", view: str) -> "UInt8[np.ndarray, 'h w 3'] | None":
        """Returns a picture of a frame's result, from the files of the run; `None` if there is nothing to see."""

    def finish(self, run: "Folder", progress: "Progress") -> None:
        """Writes the tables of a run whose frames are all done; done again after an interruption, it ends the same."""


@dataclass(frozen=True)
class Amendment:
    """A change to a complete run.

    Attributes:
        frames: Numbers of the frames that are done again, ascending.
        job: What does them; its files take the place of the run's.
        log: What the log of cues in run.json gets besides what `finish` adds.
    """

    frames: Sequence[int]
    job: Job
    log: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Task:
    """The description of a task.

    Attributes:
        name: The command, `task` in run.json, the key of a card's sites and the wing of the benchmarks.
        title: One line about it, for lists and help.
        settings: Class of its settings: a frozen dataclass whose fields are options (see `undertow.base.option`).
        cues: Kinds of cue that it takes, such as "mask", "box" and "point"; see `undertow.runs.cues`.
        files: Patterns of the files that make a run, besides run.json, relative to its folder: a name, or a folder and
            a suffix ("masks/*.png").
        views: Files of the pictures that can be drawn, such as "overlay.mp4", the usual one first; what comes before
            the suffix names the view.
        extras: Patterns of files that it owns and can do without, such as a table that people edit.
        live: Those of the views that can be drawn while frames come, as those of a stream have to be.
        gather: From cues (see `undertow.runs.cues`), the clip, what returns the model, and settings to `Given`; asks
            the model or a segmenter where it has to.
        resolve: From settings, model, (height, width) of the frames and `Given` to the numbers of a run.
        start: From settings, model, clip, `Given` and the folder of the run (`None` without one), which may not be
            there yet, to a job; reports progress where that takes long.
        amend: From a complete run whose cues are not those given now, the clip, `Given` and what starts a job as asked
            for now, to the changes that make it a run of these cues, each asked for when the one before is in place;
            `None` if it is another run. Left out by tasks whose runs cannot be amended.
        work: From the numbers of a run, the model, the clip and `Given` to what it will take; left out, what observing
            takes.
        trial: From settings, clip, `Given` and numbers of frames and tokens to a run of so many that costs per frame
            what this one does; left out, the first frames of the clip with all cues.
        redraw: From the folder of a complete run, the clip, settings, files of views and progress: puts what people
            edited in the folder into effect, and settings that decide no result, and draws the views anew, without a
            model. Left out by tasks whose runs hold nothing to edit.
    """

    name: str
    title: str
    settings: type[Any]
    cues: tuple[str, ...]
    files: tuple[str, ...]
    views: tuple[str, ...]
    gather: Callable[[Sequence["Cue"], "Clip", Callable[[], "Backbone"], Any], Given[Any]]
    resolve: Callable[[Any, "Backbone", tuple[int, int], Given[Any]], Any]
    start: Callable[[Any, "Backbone", "Clip", Given[Any], Path | None, "Progress"], Job]
    amend: Callable[["Folder", "Clip", Given[Any], Callable[[], Any]], Iterator[Amendment] | None] | None = None
    work: Callable[[Any, "Backbone", "Clip", Given[Any]], Work] | None = None
    trial: Callable[[Any, "Clip", Given[Any], int, int], tuple[Any, "Clip", Given[Any]]] | None = None
    extras: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    redraw: Callable[[Path, "Clip", Any, Sequence[str], "Progress"], None] | None = None
