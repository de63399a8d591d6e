"""`undertow points`."""

import re
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
    import numpy as np

    from undertow.video import Clip

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
    from undertow.points.job import track_points_into
    from undertow.runs.budget import parse_memory

    set_threads(threads)
    if is_live(video):
        raise CueError(f"points need a video that can be read again, and '{video}' comes once; record it to a file")
    settings = PointSettings(preset=preset, noising=noising, seed=seed, **sizes(size))
    memory = MEMORY if max_memory is None else parse_memory(max_memory)
    with opened(video, None, start, end, every, skip_damaged) as clip:
        asked = given_points(clip, point, grid, mask, queries, mask_colors=mask_colors)
        backbone = load(model, device=device, dtype=dtype)
        with shown_progress(json) as progress:
            tracks = track_points_into(
                out, clip, asked, backbone, settings, overwrite=overwrite, overlay=overlay,
                keep_features=keep_features, memory=memory, progress=progress,
            )  # fmt: skip
    count, length = tracks.visibility.shape
    shown = f"{count} points on {length} frames" if count > 1 else f"1 point on {length} frames"
    say(f"{shown}, seen on {tracks.visibility.mean():.0%} of them: {out}")


def given_points(
    clip: "Clip",
    point: list[str],
    grid: str | None,
    mask: str | None,
    queries: Path | None,
    *,
    mask_colors: bool = False,
) -> "np.ndarray":
    """Returns the points that options name, as (t, x, y), the frame counted among those of the clip.

    Raises:
        CueError: if there are none, or one is of no use.
        MemoryBudgetError: if the tracks of a grid would not fit in memory.
    """
    import numpy as np

    from undertow.points import check_points, grid_points, mask_points, read_points
    from undertow.points.job import check_room_for
    from undertow.runs import read_masks, split_cue

    size = (clip.height, clip.width)
    found = []
    for text in point:
        body, frame = split_cue(text, clip)
        match = _POINT.fullmatch(body)
        if match is None:
            raise CueError(f"--point is '{text}'; give x,y in pixels, such as 190,200 or 190,200@4")
        found.append(np.array([[frame, float(match[1]), float(match[2])]]))
    if grid is not None:
        body, frame = split_cue(grid, clip)
        if not re.fullmatch(r"\d{1,5}", body):
            raise CueError(f"--grid is '{grid}'; give the number of points across, such as 20 or 20@4")
        # A number typed with a digit too many is refused before there are so many points.
        check_room_for(int(body) ** 2, clip.frame_count or 1)
        found.append(grid_points(int(body), size, frame))
    if mask is not None:
        (frame, labels), *_ = read_masks([mask], clip, mask_colors=mask_colors)[0].items()
        found.append(mask_points(labels, frame=frame))
    if queries is not None:
        read = read_points(queries)
        if read.ndim == 2 and read.shape[1] == 2:
            read = np.column_stack([np.full(len(read), clip.start), read])
        found.append(read)
    if not found:
        raise CueError("no point was given; add --point x,y or --grid N or --mask FILE or --queries FILE")
    numbers = clip.numbers
    if numbers is None:
        raise CueError(f"points need a video of known length, and {clip.label} has none; record it to a file")
    # Frames are named by their number in the whole video.
    last = numbers[-1] + 1
    asked = np.concatenate([check_points(each, size, last, clip.start) for each in found])
    for frame in np.unique(asked[:, 0]).astype(int):
        if frame not in numbers:
            raise CueError(f"a point is on frame {frame}, which is not looked at; change it, --start or --every")
    asked[:, 0] = np.searchsorted(numbers, asked[:, 0])
    # Each once, in the order given.
    return asked[np.sort(np.unique(asked, axis=0, return_index=True)[1])]
