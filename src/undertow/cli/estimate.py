"""`undertow estimate`."""

import json as json_text
from typing import TYPE_CHECKING, Annotated, Any

import typer

from undertow.base import CueError, set_threads
from undertow.cli.options import (
    Device,
    Dtype,
    End,
    Every,
    Json,
    MaskColors,
    Model,
    NoisingKind,
    Preset,
    Size,
    SkipDamaged,
    SoftmaxScope,
    Start,
    Threads,
    sizes,
)
from undertow.cli.showing import show_table
from undertow.cli.track import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from undertow.backbones import Backbone
    from undertow.runs import Given, Task
    from undertow.runs.estimate import Estimate
    from undertow.video import Clip


def estimate(
    video: Annotated[str, typer.Argument(help="Video file or folder of frames.", show_default=False)],
    mask: Annotated[list[str] | None, typer.Option("--mask", help="FILE[@F]: the masks that will be given.")] = None,
    objects: Annotated[int | None, typer.Option(help="Number of objects, in place of --mask.")] = None,
    model: Model = "tiny",
    preset: Preset = None,
    size: Size = None,
    mask_colors: MaskColors = False,
    noising: NoisingKind = None,
    softmax_scope: SoftmaxScope = None,
    batch: Annotated[int, typer.Option(help="Frames observed at once.")] = 4,
    start: Start = None,
    end: End = None,
    every: Every = 1,
    skip_damaged: SkipDamaged = False,
    overlay: Annotated[bool, typer.Option(help="Count overlay.mp4.")] = True,
    max_memory: Annotated[
        str | None, typer.Option(help="Exit with 4 if tracking would need more, such as 8GB or 512MiB.")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Say what `track` would take: passes of the network, time, peak memory and disk."""
    from undertow.backbones import load
    from undertow.runs import read_cue
    from undertow.runs.budget import parse_memory
    from undertow.tracking import TrackSettings
    from undertow.tracking.cues import given_masks, read_masks, stand_in_masks
    from undertow.tracking.task import TASK

    set_threads(threads)
    budget = None if max_memory is None else parse_memory(max_memory)
    if bool(mask) == (objects is not None):
        raise CueError("give either --mask FILE or --objects N, so that the number of objects is known")
    settings = TrackSettings(preset=preset, noising=noising, softmax_scope=softmax_scope, batch=batch, **sizes(size))
    with opened(video, None, start, end, every, skip_damaged) as clip:
        if objects is not None:
            masks = stand_in_masks(objects, clip)
        else:
            masks = read_masks([read_cue("mask", each, clip) for each in mask or []], clip, mask_colors=mask_colors)
        backbone = load(model, device=device, dtype=dtype, sites="track")
        weigh(
            TASK, clip, given_masks(clip, masks), backbone, settings, TASK.views if overlay else (), budget,
            show=True, json=json,
        )  # fmt: skip


def weigh(
    task: "Task",
    clip: "Clip",
    given: "Given[Any]",
    backbone: "Backbone",
    settings: Any,
    views: "Sequence[str]",
    budget: int | None,
    *,
    show: bool,
    json: bool,
) -> None:
    """Shows what a run would take, if that is wanted, and refuses one that would not fit.

    Raises:
        MemoryBudgetError: if the run needs more than there is, or than is allowed.
    """
    from undertow.runs.estimate import check_budget
    from undertow.runs.estimate import estimate as estimate_run

    trial = show or budget is not None
    found = estimate_run(task, clip, given, backbone, settings, views=views, trial=trial, max_memory=budget)
    if show and json:
        print(json_text.dumps({"event": "estimate", **found.as_dict()}))
    elif show:
        _show(found)
    check_budget(found, budget)


def _show(found: "Estimate") -> None:
    """Prints an estimate as a small table."""
    from undertow.runs.budget import shown_memory

    height, width = found.size
    rows, columns = found.grid
    phase = max(found.phases, key=lambda name: found.phases[name])
    show_table(
        [
            ("frames", f"{'unknown' if found.frames is None else found.frames} of {width}x{height}"),
            ("model input", f"{found.input_size[1]}x{found.input_size[0]}, {columns}x{rows} = {found.tokens} tokens"),
            (
                "passes",
                f"{found.passes_per_frame:g} per frame, "
                + ("unknown" if found.passes is None else f"{found.passes:g}")
                + " in all",
            ),
            ("time", _shown_time(found)),
            ("peak memory", f"{shown_memory(found.memory)} while {phase}"),
            *((f"  {name}", shown_memory(size)) for name, size in found.parts.items()),
            ("disk", shown_memory(found.disk or 0) + (" per frame" if found.frames is None else "")),
        ]
    )


def _shown_time(found: "Estimate") -> str:
    """Returns the time per frame and in all."""
    if found.seconds_per_frame is None:
        return "unknown"
    text = f"{found.seconds_per_frame:.2f} s per frame"
    if found.seconds is not None:
        minutes, seconds = divmod(round(found.seconds), 60)
        text += f", {minutes} min {seconds:02d} s in all"
    # What was too slow or too large to be measured whole is known less exactly.
    return text if found.measured_at == 1 else f"{text}\n(from {found.measured_at:.0%} of the tokens)"
