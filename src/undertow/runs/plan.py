"""What a run holds, phase by phase, from shapes alone, and what smaller runs would hold in its place."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from undertow.backbones import Backbone
from undertow.base import MemoryBudgetError
from undertow.observing.settings import network_bytes, passes_per_frame
from undertow.runs.budget import held_memory, shown_memory
from undertow.runs.task import Given, Phase, Task, Work
from undertow.video import Clip, Video

# Code that the libraries load on first use, beyond what the process holds before anything was run.
LIBRARIES = 60 * 10**6
# Frames that a `Video` keeps.
CACHED_FRAMES = 16
# Bytes per native pixel, measured: a decoder's pictures; colours mixed as float64 and contours; one frame in x264.
DECODER, DRAWING, ENCODED_FRAME = 40, 30, 3.5
# Frames x264 looks ahead at its preset "medium", and what it holds besides.
LOOKAHEAD, ENCODER = 51, 20
# Share of all tensors that the allocator holds in addition, in pieces too small for what is asked next.
FRAGMENTS = 0.08
# Beyond these no estimate is needed.
MOST_TOKENS, MOST_PIXELS = 10**10, 10**12
# Steps in which smaller sizes are tried, and the smallest that is proposed.
STEP, LEAST_TOKENS = 0.85, 64


@dataclass(frozen=True)
class Plan:
    """A run that is planned; formulas only, nothing is done.

    Attributes:
        task: What is to be done.
        clip: The video, or a part of it; only its size and length are asked for.
        given: The cues.
        backbone: The model.
        settings: Options, of the task's class.
        views: Pictures that are to be drawn.
        base: Bytes held before the run: interpreter, libraries, weights.
        stray: Bytes that a trial held beyond what its own plan said.
    """

    task: Task
    clip: Clip
    given: Given[Any]
    backbone: Backbone
    settings: Any
    views: Sequence[str] = ()
    base: int = 0
    stray: int = 0

    @classmethod
    def of(
        cls, task: Task, clip: Clip, given: Given[Any], backbone: Backbone, settings: Any, views: Sequence[str] = ()
    ) -> "Plan":
        """Returns the plan of a run in this process as it is now."""
        weights = sum(backbone.parts().values())
        code = 0 if backbone.device.type == "cuda" else LIBRARIES
        base = max(weights, held_memory(backbone.device)) + code
        return cls(task, clip, given, backbone, settings, tuple(views), base)

    @property
    def work(self) -> Work:
        """What the run will do, as the task counts it.

        Raises:
            SettingsError: if the model has no such settings.
        """
        clip = self.clip
        resolved = self.task.resolve(self.settings, self.backbone, (clip.height, clip.width), self.given)
        if self.task.work is not None:
            return self.task.work(resolved, self.backbone, clip, self.given)
        network = network_bytes(self.backbone, resolved.input_size, resolved.batch)
        observing = Phase("observe", passes_per_frame(resolved.noising), {"network at work": network})
        return Work(resolved.input_size, resolved.grid, len(self.given.frames), (observing,))

    def trial(self, frames: int, tokens: int) -> "Plan":
        """Returns the plan of a run of so many frames and tokens that costs per frame what this one does."""
        clip = self.clip if self.clip.again else _stand_in(self.clip, frames)
        shorten = self.task.trial or first_frames
        settings, short, given = shorten(self.settings, clip, self.given, frames, tokens)
        return replace(self, clip=short, given=given, settings=settings)

    def phases(self, work: Work | None = None) -> dict[str, dict[str, int]]:
        """Returns the bytes alive at the peak of each phase by what holds them, interpreter and weights apart."""
        found = {phase.name: dict(phase.bytes) for phase in (work or self.work).phases}
        if self.backbone.device.type == "cuda":
            # What counts is the GPU's memory; frames and pictures are not there.
            return found
        frames, pixels = self.clip.frame_count, self.clip.height * self.clip.width
        kept = CACHED_FRAMES if frames is None else min(CACHED_FRAMES, frames)
        batch = self.settings.batch if frames is None else min(self.settings.batch, frames)
        decoded = (3 * (kept + batch) + DECODER) * pixels
        looked_ahead = ENCODED_FRAME * min(LOOKAHEAD, frames or LOOKAHEAD)
        drawing = int((DRAWING + ENCODER + looked_ahead) * pixels) * len(self.views)
        for held in found.values():
            held["decoded frames"] = decoded
            if not self.clip.again and self.views:
                # A stream cannot be read again, so its views are drawn as frames come.
                held["views"] = drawing
        if self.clip.again and self.views:
            found["draw"] = {"decoded frames": decoded, "views": drawing}
        return found

    @property
    def peaks(self) -> dict[str, int]:
        """The most bytes held in each phase."""
        return {
            name: max(self.base, self.base + self.stray + int((1 + FRAGMENTS) * sum(held.values())))
            for name, held in self.phases().items()
        }

    @property
    def peak(self) -> int:
        """The most bytes held at a time."""
        return max(self.peaks.values())

    def smaller(self) -> Iterator[tuple[str, "Plan"]]:
        """Yields options that make the run smaller, as they are typed, and the plan with them.

        What changes no result comes first (a smaller batch, no views), then a coarser grid, then all of it together.
        """
        batch, fewer = self.settings.batch, self.settings.batch
        while (fewer := fewer // 2) >= 1:
            yield f"--batch {fewer}", self._with(batch=fewer)
        bare = replace(self, views=())
        if self.views:
            yield "--views none", bare
        rows, columns = self.work.grid
        sizes, tokens = [], int(rows * columns * STEP)
        while tokens >= LEAST_TOKENS:
            sizes.append(tokens)
            tokens = int(tokens * STEP)
        for tokens in sizes:
            yield f"--size tokens={tokens}", self._with(tokens=tokens, size=None)
        words = ["--batch 1"] * (batch > 1) + ["--views none"] * bool(self.views)
        if len(words) == 2:
            yield " ".join(words), bare._with(batch=1)
        for tokens in sizes if words else ():
            yield " ".join([*words, f"--size tokens={tokens}"]), bare._with(batch=1, tokens=tokens, size=None)

    def _with(self, **options: Any) -> "Plan":
        return replace(self, settings=replace(self.settings, **options))

    def refusal(self, budget: int, whose: str) -> MemoryBudgetError:
        """Returns what to raise where a run would not fit: need, budget, and the least change that would fit."""
        need = f"{self.task.name} needs about {shown_memory(self.peak)} where {whose} {shown_memory(budget)}"
        return MemoryBudgetError(f"{need}; {self._remedy(budget)}")

    def _remedy(self, budget: int) -> str:
        """Returns a clause that names the least change that would fit in `budget` bytes, found by trying."""
        least = ""
        for options, plan in self.smaller():
            if (need := plan.peak) <= budget:
                return f"`{options}` would need about {shown_memory(need)}"
            least = f"even `{options}` would need about {shown_memory(need)}"
        return f"{least}, so give more memory" if least else "give more memory"

    def check(self, budget: int, whose: str) -> None:
        """Raises MemoryBudgetError if the run would not fit in a budget; absurd sizes are not even computed."""
        size, tokens = self.settings.size, self.settings.tokens
        usual = self._with(tokens=2 * self.backbone.card.token_budget, size=None)
        if size is not None and size[0] * size[1] > MOST_PIXELS:
            raise MemoryBudgetError(
                f"no machine could hold a model input of {size[0]}x{size[1]} pixels; {usual._remedy(budget)}"
            )
        if tokens is not None and tokens > MOST_TOKENS:
            raise MemoryBudgetError(f"no machine could hold frames of {tokens} tokens; {usual._remedy(budget)}")
        if self.peak > budget:
            raise self.refusal(budget, whose)


def first_frames(
    settings: Any, clip: Clip, given: Given[Any], frames: int, tokens: int
) -> tuple[Any, Clip, Given[Any]]:
    """Returns settings, clip and cues of a run of the first frames of a clip, seen as so many tokens."""
    numbers = (clip.numbers or range(0))[:frames]
    short = Clip(clip.video, clip.start, numbers[-1] + 1, clip.every) if numbers else clip
    return replace(settings, tokens=tokens, size=None), short, given


def _stand_in(clip: Clip, frames: int) -> Clip:
    """Returns blocks of noise in place of a stream, which gives each frame once, and the run is to have them all."""
    rows, columns = -(-clip.height // 8), -(-clip.width // 8)
    blocks = np.random.default_rng(0).integers(0, 256, (frames, rows, columns, 3), np.uint8)
    return Clip(Video(blocks.repeat(8, 1).repeat(8, 2)[:, : clip.height, : clip.width]))


def share_of(work: Work, tokens: int) -> float:
    """Returns what part of a run's tokens a smaller number is."""
    return min(1.0, tokens / math.prod(work.grid))


def parts_of(plan: Plan) -> Mapping[str, int]:
    """Returns bytes by what holds them, in the phase where each is largest; not all are alive together."""
    weights = dict(plan.backbone.parts())
    parts = {"interpreter and libraries": max(0, plan.base - sum(weights.values()))}
    parts |= {f"weights of the {name}": size for name, size in weights.items()}
    for held in plan.phases().values():
        for name, size in held.items():
            parts[name] = max(parts.get(name, 0), size)
    return parts
