"""`undertow points`."""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from undertow.base import CueError, set_threads
from undertow.cli.options import (
    Continue,
    Device,
    Dtype,
    End,
    Every,
    Json,
    MaskColors,
    Model,
    NoisingKind,
    Out,
    Seed,
    Size,
    SkipDamaged,
    Start,
    Threads,
    sizes,
)
from undertow.cli.showing import say, shown_progress
from undertow.cli.track import is_live, opened

if TYPE_CHECKING:
    pass

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_POINT = re.compile(rf"({_NUMBER}),({_NUMBER})")


def points(
    video: Annotated[str, typer.Argument(help="Video file or folder of frames.", show_default=False)],
    out: Out,
    point: Annotated[list[str], typer.Option("--point", help="x,y[@F]: a point on frame F, in pixels.")] = [],  # noqa: B006
    grid: Annotated[str | None, typer.Option(help="N[@F]: N by N points spread evenly over frame F.")] = None,
    mask: Annotated[str | None, typer.Option(help="FILE[@F]: about 100 points on the objects painted there.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="A .csv file with x, y and perhaps frame, or .npz with queries.")
    ] = None,
    model: Model = "tiny",
    preset: Annotated[str | None, typer.Option(help="points, difftrack, dift, latents or pixels.")] = None,
    size: Size = None,
    mask_colors: MaskColors = False,
    noising: NoisingKind = None,
    start: Start = None,
    end: End = None,
    every: Every = 1,
    skip_damaged: SkipDamaged = False,
    overlay: Annotated[bool, typer.Option(help="Render overlay.mp4.")] = True,
    keep_features: Annotated[
        bool, typer.Option("--keep-features", help="Keep what the network saw, so that points can be added at once.")
    ] = False,
    overwrite: Continue = False,
    max_memory: Annotated[
        str | None, typer.Option("--max-memory", help="Most memory for features, such as 2GB; the rest goes to disk.")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = 0,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Follow points through a video, in both directions from the frames they are given on.

    The same command again goes on after an interruption; with other points it adds them to a complete run.
    """
    from undertow.backbones import load
    from undertow.observing.store import MEMORY
    from undertow.points import PointSettings
    from undertow.points.task import TASK
    from undertow.runs import execute, read_cue
    from undertow.runs.budget import parse_memory

    set_threads(threads)
    if is_live(video):
        raise CueError(f"points need a video that can be read again, and '{video}' comes once; record it to a file")
    settings = PointSettings(
        preset=preset, noising=noising, seed=seed, mask_colors=mask_colors, keep_features=keep_features,
        feature_memory=MEMORY if max_memory is None else parse_memory(max_memory), **sizes(size),
    )  # fmt: skip
    with opened(video, None, start, end, every, skip_damaged) as clip:
        typed = [("point", each) for each in point]
        single = (("grid", grid), ("mask", mask), ("queries", queries))
        typed += [(kind, str(each)) for kind, each in single if each is not None]
        loaded = cache(lambda: load(model, device=device, dtype=dtype, sites="points"))
        given = TASK.gather([read_cue(kind, each, clip) for kind, each in typed], clip, loaded, settings)
        with shown_progress(json) as progress:
            views = TASK.views if overlay else TASK.views[1:]
            execute(TASK, out, clip, given, loaded(), settings, views=views, overwrite=overwrite, progress=progress)
    say(f"tracks are in {out}")
