"""What a run will take before it is run: passes of the network, seconds, memory and disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from undertow.backbones import Backbone
from undertow.base import CueError, MemoryBudgetError
from undertow.masks import VOID, LabelMap, object_ids
from undertow.runs.budget import Plan, check_machine, fitting_option, machine_memory, shown_memory
from undertow.runs.calibration import Calibration, Frames, held_memory, written
from undertow.runs.calibration import calibrate as measure
from undertow.runs.record import plain
from undertow.tracking import ResolvedSettings, TrackSettings, resolve
from undertow.tracking.footprint import Work, labels_bytes, network_bytes_per_pixel, references, weights_bytes

# Code that the libraries load on first use, beyond what the process holds before anything was run.
LIBRARIES = 60 * 10**6
# On disk: a row of scores, and a pixel of the overlay.
SCORE_BYTES, OVERLAY_BYTES = 60, 0.05


@dataclass(frozen=True)
class Estimate:
    """What a run will take.

    Attributes:
        frames: Number of frames; None for a stream, whose end nobody knows.
        size: Height and width of the frames, in pixels.
        input_size: Height and width the model is shown, in pixels.
        grid: Rows and columns of tokens.
        objects: Number of objects.
        references: Reference frames alive once the memory is full.
        passes_per_frame: Times the network runs for a frame.
        seconds_per_frame: Mean over the run; None if nothing was measured.
        memory: The most bytes held at a time: by the process, or by torch on the GPU (without the driver's own) if
            the model is there.
        parts: Bytes by what holds them; not all are alive together.
        phases: Bytes held at most while observing, propagating and drawing; `memory` is the largest.
        disk: Bytes of the run folder by kind, for all frames, or per frame if their number is unknown.
        measured_at: Share of the tokens at which time and memory were measured; 0 if they were not.
    """

    frames: int | None
    size: tuple[int, int]
    input_size: tuple[int, int]
    grid: tuple[int, int]
    objects: int
    references: int
    passes_per_frame: int
    seconds_per_frame: float | None
    memory: int
    parts: Mapping[str, int]
    phases: Mapping[str, int]
    disk: Mapping[str, int]
    measured_at: float
    plan: Plan = field(repr=False, compare=False)

    @property
    def tokens(self) -> int:
        """Tokens per frame."""
        return self.grid[0] * self.grid[1]

    @property
    def passes(self) -> int | None:
        """Times the network runs in all; None for a stream."""
        return None if self.frames is None else self.frames * self.passes_per_frame

    @property
    def seconds(self) -> float | None:
        """Seconds in all; None for a stream, or if nothing was measured."""
        if self.frames is None or self.seconds_per_frame is None:
            return None
        return self.frames * self.seconds_per_frame

    def as_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain values."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "plan"}
        return plain(own | {"tokens": self.tokens, "passes": self.passes, "seconds": self.seconds})


def estimate(
    video: Frames,
    objects: Mapping[int, LabelMap] | int,
    backbone: Backbone,
    settings: TrackSettings | None = None,
    *,
    overlay: bool = True,
    calibrate: bool = True,
    max_memory: int | None = None,
) -> Estimate:
    """Returns what tracking a video into a Run folder will take.

    Without calibration all comes from formulas and takes no time; with it, some of the work is done for a few seconds,
    at a smaller size where the whole would be slow or large.

    Args:
        video: The video, or a part of it; nothing is read of a stream.
        objects: Label maps by frame number, or only the number of objects.
        backbone: The model, loaded.
        settings: Options of the run.
        overlay: Whether the overlay will be rendered.
        calibrate: Whether to measure.
        max_memory: Bytes that may be held; None for what the machine has. Measuring keeps well below.

    Raises:
        MemoryBudgetError: if the run could not fit in this machine, whatever is measured.
    """
    settings = settings or TrackSettings()
    maps = {0: _stand_ins(objects, video.height, video.width)} if isinstance(objects, int) else dict(objects)
    if not maps:
        raise CueError("no mask was given; give one, or the number of objects")
    ids = {object_id for each in maps.values() for object_id in object_ids(each)}
    weights = weights_bytes(backbone)
    work = Work(
        height=video.height,
        width=video.width,
        frames=video.frame_count,
        objects=objects if isinstance(objects, int) else len(ids),
        anchors=len(maps),
        overlay=overlay,
        base=max(weights, held_memory(backbone)) + (0 if backbone.device.type == "cuda" else LIBRARIES),
        weights=weights,
        network=network_bytes_per_pixel(backbone),
        cuda=backbone.device.type == "cuda",
    )
    plan = Plan(work, settings, backbone)
    check_machine(plan)
    found = None
    if calibrate:
        room = machine_memory(backbone.device)
        found = measure(video, maps[min(maps)], work, backbone, settings, min(room, max_memory or room))
        plan = replace(plan, work=replace(work, base=found.base, network=found.network))
    resolved = resolve(settings, backbone, video.height, video.width)
    held = plan.footprint()
    return Estimate(
        frames=work.frames,
        size=(video.height, video.width),
        input_size=resolved.input_size,
        grid=resolved.grid,
        objects=work.objects,
        references=references(plan.work, resolved),
        passes_per_frame=passes_per_frame(resolved),
        seconds_per_frame=None if found is None else _seconds(found, plan.work, resolved),
        memory=held.peak,
        parts=held.parts,
        phases=held.phases,
        disk=_disk(found, maps[min(maps)], plan.work, resolved),
        measured_at=0.0 if found is None else found.share,
        plan=plan,
    )


def check_budget(estimate: Estimate, max_memory: int | None) -> None:
    """Refuses a run that would not fit.

    Args:
        estimate: Of the run.
        max_memory: Bytes allowed (see `parse_memory`); None allows what the machine has.

    Raises:
        MemoryBudgetError: naming need, budget and an option that would fit, found by trying.
    """
    machine = machine_memory(estimate.plan.backbone.device)
    budget = machine if max_memory is None else max_memory
    if estimate.memory > budget:
        allowed = "this machine has" if max_memory is None else "--max-memory allows"
        raise MemoryBudgetError(
            f"tracking needs about {shown_memory(estimate.memory)} where {allowed} {shown_memory(budget)}; "
            f"{fitting_option(estimate.plan, budget)}"
        )


def passes_per_frame(resolved: ResolvedSettings) -> int:
    """Returns how often the network runs for a frame: each step of an inversion, and the observation itself."""
    if resolved.preset.source in ("pixels", "latents"):
        return 0
    return 1 + (len(resolved.noising.steps_grid) if resolved.noising.kind == "invert" else 0)


def _seconds(found: Calibration, work: Work, resolved: ResolvedSettings) -> float:
    """Returns the mean seconds of a frame; at the start of a video there are fewer references to compare with."""
    full = max(1, references(work, resolved))
    filled = 1.0
    if work.frames is not None:
        filled = sum(min(index, full) for index in range(min(work.frames, full))) / full
        filled = (filled + max(0, work.frames - full)) / work.frames
    drawing = found.drawing + found.decoding if work.overlay else 0.0
    return found.decoding + found.observing + filled * found.propagating + found.deciding + found.writing + drawing


def _disk(found: Calibration | None, labels: LabelMap, work: Work, resolved: ResolvedSettings) -> dict[str, int]:
    """Returns the bytes of the run folder by kind; of one frame if nobody knows how many there are."""
    frames = 1 if work.frames is None else work.frames
    _, mask, rows = written(labels)
    picture = OVERLAY_BYTES * work.height * work.width if found is None else found.overlay_bytes
    return {
        "masks": frames * mask,
        "tables": frames * (rows + SCORE_BYTES * work.objects),
        "overlay": int(frames * picture) if work.overlay else 0,
        "state": references(work, resolved) * labels_bytes(work, resolved),
    }


def _stand_ins(count: int, height: int, width: int) -> LabelMap:
    """Returns a label map with `count` objects in a row, for want of the real one."""
    if not 1 <= count < VOID:
        raise CueError(f"the number of objects is {count}; give 1 to {VOID - 1}")
    labels = np.zeros((height, width), np.uint16)
    # Every other stripe of the middle third; where there are more objects than pixels, the last ones do without.
    columns = np.arange(width) * 2 * count // width
    labels[height // 3 : -(-2 * height // 3)] = np.where(columns % 2 == 0, columns // 2 + 1, 0)
    return labels
