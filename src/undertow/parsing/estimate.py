"""What parsing will take before it is run: passes by formula, seconds and memory from a measured step."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from undertow.backbones import Backbone
from undertow.base import MemoryBudgetError
from undertow.base.memory import PeakMeter, release_memory
from undertow.masks import LabelMap
from undertow.parsing import Parser, ParseSettings, ResolvedParse, resolve_parse
from undertow.parsing.anchors import check_anchors, classes_of
from undertow.parsing.sharpeners.presets import modulation_for
from undertow.runs.budget import machine_memory, shown_memory
from undertow.video import Clip, Video

# Frames that are parsed to see what one takes: fewer where the network runs for every label.
MEASURED, MEASURED_PUSHED = 3, 1
# Bytes per native pixel of the frames of a batch: as they are, and as the network is shown them.
PER_PIXEL, PER_INPUT_PIXEL = 3, 3 * 4


@dataclass(frozen=True)
class ParseEstimate:
    """What a run will take.

    Attributes:
        frames: Number of frames; None for a stream.
        size: Height and width of the frames, in pixels.
        input_size: Height and width the model is shown.
        grid: Rows and columns of tokens.
        classes: Labels that the network is pushed at: those of the anchors, or the clusters.
        passes_per_frame: Times all of the network runs for a frame.
        suffixes_per_frame: Times only what comes after the push runs.
        decodes_per_frame: Pictures decoded for a frame.
        seconds_per_frame: Measured on the first frames; without drawing.
        memory: The most bytes held at a time.
        measured: Frames that were parsed to know this.
    """

    frames: int | None
    size: tuple[int, int]
    input_size: tuple[int, int]
    grid: tuple[int, int]
    classes: int
    passes_per_frame: int
    suffixes_per_frame: int
    decodes_per_frame: int
    seconds_per_frame: float
    memory: int
    measured: int

    @property
    def passes(self) -> int | None:
        """Times all of the network runs in all; None for a stream."""
        return None if self.frames is None else self.frames * self.passes_per_frame

    @property
    def seconds(self) -> float | None:
        """Seconds in all; None for a stream."""
        return None if self.frames is None else self.frames * self.seconds_per_frame

    def as_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain values."""
        tokens = self.grid[0] * self.grid[1]
        return asdict(self) | {"tokens": tokens, "passes": self.passes, "seconds": self.seconds}


def estimate_parsing(
    video: Video | Clip, anchors: Mapping[int, LabelMap], backbone: Backbone, settings: ParseSettings | None = None
) -> ParseEstimate:
    """Returns what parsing a video will take, after parsing its first frames.

    The anchor that is nearest to them stands for all, so that as many labels are pushed as will be. Of a stream nothing
    may be read before the run: it cannot be estimated.

    Raises:
        CueError, MaskError: if an anchor does not fit the video.
        MemoryBudgetError: if the video is a stream.
    """
    settings = settings or ParseSettings()
    if not video.again:
        raise MemoryBudgetError("what a stream takes cannot be measured before it is read; save it to a file first")
    checked = check_anchors(video, anchors)
    resolved = resolve_parse(settings, backbone, video.height, video.width, anchored=bool(checked))
    classes = len(classes_of(checked)) if checked else _clusters(settings, resolved)
    numbers = video.numbers or range(0)
    count = min(MEASURED_PUSHED if settings.quality != "turbo" else MEASURED, len(numbers))
    whole = video.video if isinstance(video, Clip) else video
    start = video.start if isinstance(video, Clip) else 0
    short = Clip(whole, start, start + count)
    given = {start: checked[min(checked)]} if checked else {}
    # Fewer frames have fewer tokens to make clusters of.
    tokens = count * resolved.grid[0] * resolved.grid[1]
    clusters = settings.clusters if settings.clusters == "auto" else min(settings.clusters, tokens)
    parser = Parser(backbone, given, replace(settings, clusters=clusters))
    release_memory()
    begun = time.perf_counter()
    with PeakMeter(backbone.device) as meter:
        for _ in parser.run(short):
            pass
    seconds = (time.perf_counter() - begun) / max(1, count)
    frames = len(numbers) if numbers is not None else None
    held = min(settings.batch, frames or settings.batch) - count
    inputs = resolved.input_size[0] * resolved.input_size[1]
    passes, suffixes, decodes = passes_per_frame(backbone, resolved, classes)
    return ParseEstimate(
        frames=frames,
        size=(video.height, video.width),
        input_size=resolved.input_size,
        grid=resolved.grid,
        classes=classes,
        passes_per_frame=passes,
        suffixes_per_frame=suffixes,
        decodes_per_frame=decodes,
        seconds_per_frame=seconds,
        memory=meter.peak + max(0, held) * (PER_PIXEL * video.height * video.width + PER_INPUT_PIXEL * inputs),
        measured=count,
    )


def passes_per_frame(backbone: Backbone, resolved: ResolvedParse, classes: int) -> tuple[int, int, int]:
    """Returns how often, for one frame, the whole network runs, how often only its end, and how often a decoder.

    One pass reads the tokens, after the steps of an inversion if there is one. "fast" and "exact" add the frame as it
    is at each step, and for every label and sign the end of the first step and all of the later ones; a network under
    guidance runs twice each time. Without a push there are as many passes as the tracker has.
    """
    inverted = len(resolved.noising.steps_grid) if resolved.noising.kind == "invert" else 0
    passes = 1 + inverted
    if resolved.settings.quality == "turbo":
        return passes, 0, 0
    modulation = modulation_for(backbone.card, resolved.settings)
    exact = resolved.settings.quality == "exact"
    steps = len(modulation.steps) if exact else 1
    guided = 1 if modulation.guidance == 1.0 else 2
    pushes = classes * (1 if modulation.one_sided else 2)
    if modulation.noising == "invert":
        passes += len(modulation.level().steps_grid)
    passes += guided * (steps + pushes * (steps - 1))
    decodes = 0 if not exact else pushes + (1 if modulation.one_sided else 0)
    return passes, guided * pushes, decodes


def check_parsing(estimate: ParseEstimate, backbone: Backbone, allowed: int | None) -> None:
    """Refuses a run that would not fit.

    Args:
        estimate: Of the run.
        backbone: The model, for where it is.
        allowed: Bytes; None allows what the machine has.

    Raises:
        MemoryBudgetError: naming need, budget and what would help.
    """
    budget = machine_memory(backbone.device) if allowed is None else allowed
    if estimate.memory > budget:
        whose = "this machine has" if allowed is None else "--max-memory allows"
        raise MemoryBudgetError(
            f"parsing needs about {shown_memory(estimate.memory)} where {whose} {shown_memory(budget)}; "
            "use a smaller --batch, or a smaller --size such as tokens=1600"
        )


def _clusters(settings: ParseSettings, resolved: ResolvedParse) -> int:
    """Returns how many clusters there will be; of "auto" nobody knows yet, and 20 is what it is near."""
    tokens = resolved.grid[0] * resolved.grid[1]
    return min(20 if settings.clusters == "auto" else settings.clusters, tokens * settings.batch)
