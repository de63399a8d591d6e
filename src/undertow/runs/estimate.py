"""What a run of any task will take before it is run: passes of the network, seconds, memory and disk.

Memory follows from shapes (`undertow.runs.plan`). What the network takes while it runs does not, nor does the speed of
the machine, so a few seconds of the real run are done in a temporary folder, at sizes that are climbed one after the
other: the next is tried only if the ones below say that it is quick and that it fits. A run that would not fit is thus
never tried.
"""

import logging
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from undertow.backbones import Backbone
from undertow.base import SilentProgress
from undertow.base.memory import PeakMeter, release_memory
from undertow.runs.budget import held_memory, machine_memory
from undertow.runs.executing import execute
from undertow.runs.plan import Plan, parts_of, share_of
from undertow.runs.record import plain
from undertow.runs.task import Given, Task
from undertow.video import Clip, Video

# Shares of the tokens that are tried before all of them. The first is tried in any case, so it is never large.
LADDER = (1 / 16, 1 / 4)
LEAST_TOKENS, MOST_TOKENS = 16, 1024
# A size is tried if it should take no longer than this, and no more than this share of the memory that is left.
PATIENCE = 6.0
PRUDENCE = 0.5


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        task: Name of the task.
        frames: Number of frames; `None` for a stream, whose end nobody knows.
        size: Height and width of the frames, in pixels.
        input_size: Height and width the model is shown, in pixels.
        grid: Rows and columns of tokens.
        labels: Number of objects, classes or points.
        passes_per_frame: Times the network runs for a frame; a part of the network counts as that part.
        seconds_per_frame: Mean over the run; `None` if nothing was tried.
        memory: The most bytes held at a time: by the process, or by torch on the GPU (without the driver's own) if
            the model is there.
        parts: Bytes by what holds them; not all are alive together.
        phases: Bytes held at most in each phase; `memory` is the largest.
        disk: Bytes of the run folder, for all frames, or per frame if their number is unknown; `None` if nothing was
            tried.
        measured_at: Share of the tokens at which time and memory were measured; 0 if they were not.
    """

    task: str
    frames: int | None
    size: tuple[int, int]
    input_size: tuple[int, int]
    grid: tuple[int, int]
    labels: int
    passes_per_frame: float
    seconds_per_frame: float | None
    memory: int
    parts: Mapping[str, int]
    phases: Mapping[str, int]
    disk: int | None
    measured_at: float
    plan: Plan = field(repr=False, compare=False)

    @property
    def tokens(self) -> int:
        """Tokens per frame."""
        return math.prod(self.grid)

    @property
    def passes(self) -> float | None:
        """Times the network runs in all; `None` for a stream."""
        return None if self.frames is None else self.frames * self.passes_per_frame

    @property
    def seconds(self) -> float | None:
        """Seconds in all; `None` for a stream, or if nothing was tried."""
        if self.frames is None or self.seconds_per_frame is None:
            return None
        return self.frames * self.seconds_per_frame

    def as_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain values."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "plan"}
        return plain(own | {"tokens": self.tokens, "passes": self.passes, "seconds": self.seconds})


@dataclass(frozen=True)
class Trial:
    """A part of a run that was done, and what it took.

    Attributes:
        tokens: Per frame.
        frames: Number of frames.
        first: Seconds that a frame took at the start.
        steady: Seconds that a frame took in the end.
        disk: Bytes of the run folder.
        stray: Bytes held beyond what the trial's own plan said.
    """

    tokens: int
    frames: int
    first: float
    steady: float
    disk: int
    stray: int


def estimate(
    task: Task,
    clip: Video | Clip,
    given: Given[Any],
    backbone: Backbone,
    settings: Any,
    *,
    views: Sequence[str] = (),
    trial: bool = True,
    max_memory: int | None = None,
) -> Estimate:
    """Returns what a run will take.

    Without a trial all comes from formulas and takes no time.

    Args:
        task: What is to be done.
        clip: The video, or a part of it; nothing is read of a stream.
        given: The cues.
        backbone: The model, loaded.
        settings: Options, of the task's class.
        views: Pictures that are to be drawn.
        trial: Whether some of the run is done to measure it.
        max_memory: Bytes that may be held; `None` for what the machine has. Trials keep well below.

    Raises:
        MemoryBudgetError: if the run could not fit in this machine, whatever is measured.
    """
    clip = clip if isinstance(clip, Clip) else Clip(clip)
    plan = Plan.of(task, clip, given, backbone, settings, views)
    machine = machine_memory(backbone.device)
    plan.check(machine, "this machine has")
    trials: list[Trial] = []
    if trial:
        with _silence():
            # Libraries load their code and make their tables on first use: that is no part of what a frame takes.
            _try(plan, 1, max(LEAST_TOKENS, min(round(LADDER[0] * math.prod(plan.work.grid)), MOST_TOKENS)))
            release_memory()
            plan = replace(plan, base=held_memory(backbone.device))
            trials = _climb(plan, min(machine, max_memory or machine))
        plan = replace(plan, stray=trials[-1].stray)
    work = plan.work
    last = trials[-1] if trials else None
    # Trials go through their frames once.
    seconds = _seconds(trials, work.warm, math.prod(work.grid), clip.frame_count) * work.visits if trials else None
    frames = 1 if clip.frame_count is None else clip.frame_count
    return Estimate(
        task=task.name,
        frames=clip.frame_count,
        size=(clip.height, clip.width),
        input_size=work.input_size,
        grid=work.grid,
        labels=work.labels,
        passes_per_frame=sum(phase.passes for phase in work.phases),
        seconds_per_frame=seconds,
        memory=plan.peak,
        parts=parts_of(plan),
        phases=plan.peaks,
        disk=None if last is None else round(last.disk / last.frames * frames),
        measured_at=0.0 if last is None else share_of(work, last.tokens),
        plan=plan,
    )


def check_budget(estimate: Estimate, max_memory: int | None) -> None:
    """Refuses a run that would need more than `max_memory` bytes; `None` allows what the machine has.

    Raises:
        MemoryBudgetError: naming need, budget and an option that would fit, found by trying.
    """
    machine = machine_memory(estimate.plan.backbone.device)
    budget = machine if max_memory is None else max_memory
    if estimate.memory > budget:
        raise estimate.plan.refusal(budget, "this machine has" if max_memory is None else "--max-memory allows")


def _climb(plan: Plan, room: int) -> list[Trial]:
    """Returns trials of growing size."""
    work, batch = plan.work, plan.settings.batch
    tokens = math.prod(work.grid)
    first, second = (max(LEAST_TOKENS, round(share * tokens)) for share in LADDER)
    trials = [_try(plan, work.warm + batch, min(first, MOST_TOKENS))]
    for frames, wanted in ((batch, second), (batch, tokens), (work.warm + batch, tokens)):
        seconds = frames * _seconds(trials, work.warm, wanted, frames)
        done = (wanted, frames) in [(each.tokens, each.frames) for each in trials]
        needed = replace(plan, base=held_memory(plan.backbone.device), stray=max(0, trials[-1].stray)).peak
        held = held_memory(plan.backbone.device)
        if done or wanted < trials[-1].tokens:
            continue
        if seconds > PATIENCE or needed > held + PRUDENCE * (room - held):
            break
        trials.append(_try(plan, frames, wanted))
    return trials


def _try(plan: Plan, frames: int, tokens: int) -> Trial:
    """Does a run that stands for a plan, of so many frames and tokens, in a temporary folder."""
    small = plan.trial(frames, tokens)
    # What earlier work left behind would be used again, and hide what this takes.
    release_memory()
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        with PeakMeter(plan.backbone.device) as meter:
            execute(
                small.task, out, small.clip, small.given, small.backbone, small.settings,
                views=small.views, progress=clock,
            )  # fmt: skip
        disk = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    count = small.clip.frame_count or 1
    ends = min(count, plan.settings.batch)
    own = clock.of(plan.task.name)
    others = (clock.total - sum(own)) / count
    return Trial(
        tokens=math.prod(small.work.grid),
        frames=count,
        first=others + sum(own[:ends]) / ends,
        steady=others + sum(own[-ends:]) / ends,
        disk=disk,
        stray=meter.peak - replace(small, stray=0).peak,
    )


def _seconds(trials: Sequence[Trial], warm: int, tokens: int, frames: int | None) -> float:
    """Returns the mean seconds of a frame of a run by the growth between the two largest numbers of tokens tried."""
    top = trials[-1]
    # At the start of a video there are fewer references to compare with; only a long trial shows how that ends.
    longest = max(trials, key=lambda trial: (trial.frames, trial.tokens))
    growth = longest.steady / max(longest.first, 1e-9) if longest.frames > warm else 1.0
    steady = top.steady if top.frames > warm else max(top.steady, top.first * max(1.0, growth))
    below = [trial for trial in trials if trial.tokens < top.tokens]
    # Small runs are mostly what every run takes.
    power = 1.0
    if below:
        # Convolutions grow with the tokens, attention and the kernel with their square.
        power = math.log(max(top.first, 1e-9) / max(below[-1].first, 1e-9)) / math.log(top.tokens / below[-1].tokens)
    scale = (tokens / top.tokens) ** min(max(power, 1.0), 2.0)
    if frames is None or not warm:
        return steady * scale
    starting = min(frames, warm)
    return scale * (starting * (top.first + steady) / 2 + (frames - starting) * steady) / frames


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps what trials would log to themselves: at other sizes it need not be true, and the run itself says it."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class _Clock(SilentProgress):
    """Notes when each unit of each stage was done."""

    def __init__(self) -> None:
        self._stage = ""
        self._last = self._begun = time.perf_counter()
        self._spans: dict[str, list[float]] = {}

    def start(self, stage: str, total: int | None) -> None:
        """Begins a stage."""
        self._stage, self._last = stage, time.perf_counter()

    def advance(self, units: int = 1, **facts: Any) -> None:
        """Notes the time since the unit before."""
        now = time.perf_counter()
        if units:
            self._spans.setdefault(self._stage, []).extend([(now - self._last) / units] * units)
        self._last = now

    @property
    def total(self) -> float:
        """Seconds from the beginning to the last unit."""
        return self._last - self._begun

    def of(self, stage: str) -> list[float]:
        """Returns the seconds of each unit of a stage; one of no length if there was none."""
        return self._spans.get(stage) or [0.0]
