"""`undertow track`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from undertow.base import set_threads
from undertow.cli.entry import app
from undertow.cli.options import (
    Device,
    Dtype,
    Json,
    Model,
    Out,
    Overwrite,
    Preset,
    Seed,
    Size,
    Threads,
    log,
    shown_progress,
    sizes,
)


@app.command()
def track(
    video: Annotated[Path, typer.Argument(help="Video file or folder of frames.")],
    out: Out,
    mask: Annotated[
        list[str], typer.Option("--mask", help="FILE[@F]: objects painted on frame F (a number, or seconds like 1.5s).")
    ],
    model: Model = "tiny",
    preset: Preset = None,
    size: Size = None,
    mask_colors: Annotated[bool, typer.Option("--mask-colors", help="Masks are RGB-coded.")] = False,
    noising: Annotated[Literal["invert", "noise", "clean"] | None, typer.Option(help="How frames are noised.")] = None,
    softmax_scope: Annotated[
        Literal["reference", "window", "joint", "none", "survivors"] | None,
        typer.Option(help="What the softmax runs over; `window` is the fast one."),
    ] = None,
    channel_norm: Annotated[Literal["none", "minmax"], typer.Option(help="Stretch channels before deciding.")] = "none",
    overlay: Annotated[bool, typer.Option(help="Render overlay.mp4.")] = True,
    overwrite: Overwrite = False,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = 0,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Track the objects of a mask through a video."""
    from undertow.backbones import load
    from undertow.runs import read_masks, track_into
    from undertow.tracking import TrackSettings
    from undertow.video import Video

    set_threads(threads)
    settings = TrackSettings(
        preset=preset, noising=noising, softmax_scope=softmax_scope, channel_norm=channel_norm, seed=seed, **sizes(size)
    )
    with Video(video) as opened:
        masks, colours = read_masks(mask, opened, mask_colors=mask_colors)
        for colour, object_id in colours.items():
            log.print(f"colour {colour} is object {object_id}")
        backbone = load(model, device=device, dtype=dtype)
        with shown_progress(json) as progress:
            track_into(
                out, opened, masks, backbone, settings,
                cues=[{"mask": cue} for cue in mask], overwrite=overwrite, overlay=overlay, progress=progress,
            )  # fmt: skip
    log.print(f"masks, scores and overlay are in {out}")
