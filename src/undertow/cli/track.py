"""`undertow track`."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from undertow.base import SettingsError, set_threads
from undertow.cli.entry import app
from undertow.cli.options import (
    Continue,
    Device,
    Dtype,
    End,
    Every,
    Json,
    Lost,
    MaskColors,
    Model,
    NoisingKind,
    Out,
    Preset,
    Seed,
    Size,
    SoftmaxScope,
    Start,
    Threads,
    log,
    shown_progress,
    sizes,
)

if TYPE_CHECKING:
    from undertow.backbones import Backbone
    from undertow.masks import LabelMap
    from undertow.runs import Correction
    from undertow.tracking import TrackSettings
    from undertow.video import Clip


@app.command()
def track(
    video: Annotated[
        str, typer.Argument(help="Video file, folder of frames, - for standard input, or camera:0.", show_default=False)
    ],
    out: Out,
    mask: Annotated[
        list[str], typer.Option("--mask", help="FILE[@F]: objects painted on frame F (a number, or seconds like 1.5s).")
    ],
    model: Model = "tiny",
    preset: Preset = None,
    size: Size = None,
    mask_colors: MaskColors = False,
    noising: NoisingKind = None,
    softmax_scope: SoftmaxScope = None,
    channel_norm: Annotated[Literal["none", "minmax"], typer.Option(help="Stretch channels before deciding.")] = "none",
    lost: Lost = None,
    start: Start = None,
    end: End = None,
    every: Every = 1,
    raw: Annotated[
        str | None, typer.Option(help="Standard input or a pipe is raw video: WIDTHxHEIGHT[:FORMAT][@RATE].")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Frames observed at once: 4, and 1 of live video, where none is to wait.")
    ] = None,
    overlay: Annotated[bool, typer.Option(help="Render overlay.mp4.")] = True,
    overwrite: Continue = False,
    max_memory: Annotated[
        str | None, typer.Option("--max-memory", help="Refuse what would need more, such as 8GB.")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = 0,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Track the objects of a mask through a video.

    The same command again goes on after an interruption; with one more --mask FILE@F it corrects a complete run from
    frame F on.
    """
    from undertow.backbones import load
    from undertow.runs import Latency, parse_memory, read_masks, track_into
    from undertow.tracking import TrackSettings

    set_threads(threads)
    settings = TrackSettings(
        preset=preset, noising=noising, softmax_scope=softmax_scope, channel_norm=channel_norm, lost=lost, seed=seed,
        batch=(1 if is_live(video) else 4) if batch is None else batch, **sizes(size),
    )  # fmt: skip
    allowed = None if max_memory is None else parse_memory(max_memory)
    with opened(video, raw, start, end, every) as clip:
        masks, colours = read_masks(mask, clip, mask_colors=mask_colors)
        for colour, object_id in colours.items():
            log.print(f"colour {colour} is object {object_id}")
        backbone = load(model, device=device, dtype=dtype)
        check_memory(clip, masks, backbone, settings, overlay, allowed)
        latency = Latency()
        corrections: list[Correction] = []
        with shown_progress(json) as progress:
            track_into(
                out, clip, masks, backbone, settings, cues=[{"mask": cue} for cue in mask],
                overwrite=overwrite, overlay=overlay, progress=progress, latency=latency,
                corrections=corrections,
            )  # fmt: skip
    for correction in corrections:
        log.print(f"{correction}")
    if latency.count:
        log.print(f"{latency}")
    log.print(f"masks, scores and overlay are in {out}" if overlay else f"masks and scores are in {out}")


def is_live(video: str) -> bool:
    """Returns whether a video is a pipe or a camera."""
    from undertow.video import is_stream

    return is_stream(video)


def opened(video: str, raw: str | None, start: str | None, end: str | None, every: int) -> "Clip":
    """Returns the frames that a command is to work on."""
    from undertow.video import Clip, Video, frame_number, open_stream

    if raw is not None and not is_live(video):
        raise SettingsError(f"--raw is for standard input and pipes, and '{video}' is neither; leave it out")
    whole = open_stream(video, raw=raw) if is_live(video) else Video(video)
    first = 0 if start is None else frame_number(start, whole, "--start")
    return Clip(whole, first, None if end is None else frame_number(end, whole, "--end"), every)


def check_memory(
    clip: "Clip",
    masks: "dict[int, LabelMap]",
    backbone: "Backbone",
    settings: "TrackSettings",
    overlay: bool,
    allowed: int | None,
) -> None:
    """Raises MemoryBudgetError if tracking would need more memory than there is, or than is allowed (in bytes)."""
    from undertow.runs import check_budget, estimate

    calibrate = allowed is not None
    check_budget(
        estimate(clip, masks, backbone, settings, overlay=overlay, calibrate=calibrate, max_memory=allowed), allowed
    )
