"""`undertow track`."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from undertow.base import SettingsError, set_threads
from undertow.cli.options import (
    Continue,
    Device,
    Dtype,
    End,
    Every,
    Json,
    Lost,
    MaskColors,
    MaskThreshold,
    Model,
    NoisingKind,
    Out,
    Preset,
    Seed,
    Size,
    SkipDamaged,
    SoftmaxScope,
    Start,
    Threads,
    sizes,
)
from undertow.cli.showing import say, shown_progress

if TYPE_CHECKING:
    from undertow.video import Clip


def track(
    video: Annotated[
        str, typer.Argument(help="Video file, folder of frames, - for standard input, or camera:0.", show_default=False)
    ],
    out: Out,
    mask: Annotated[
        list[str], typer.Option("--mask", help="FILE[@F]: objects painted on frame F (a number, or seconds like 1.5s).")
    ] = [],  # noqa: B006
    box: Annotated[
        list[str], typer.Option("--box", help="x0,y0,x1,y1[@F][#ID]: a box around an object, in pixels.")
    ] = [],  # noqa: B006
    point: Annotated[
        list[str], typer.Option("--point", help="x,y[,+|-][@F][#ID]: a point on an object, or with - beside it.")
    ] = [],  # noqa: B006
    text: Annotated[
        list[str], typer.Option("--text", help="WORD[@F][#ID]: what an object is called (experimental).")
    ] = [],  # noqa: B006
    segmenter: Annotated[
        str | None,
        typer.Option(help="What boxes and points go to, GrabCut if not given, and --refine sam: sam-vit-b, a folder."),
    ] = None,
    model: Model = "tiny",
    preset: Preset = None,
    size: Size = None,
    mask_colors: MaskColors = False,
    mask_threshold: MaskThreshold = None,
    noising: NoisingKind = None,
    softmax_scope: SoftmaxScope = None,
    channel_norm: Annotated[Literal["none", "minmax"], typer.Option(help="Stretch channels before deciding.")] = "none",
    lost: Lost = None,
    refine: Annotated[
        Literal["none", "guided", "crf", "sam"], typer.Option(help="Better masks from the frames, after propagation.")
    ] = "none",
    feed_back: Annotated[
        bool, typer.Option("--feed-back", help="Go on from masks that --refine sam made, instead of the tracker's.")
    ] = False,
    tuning: Annotated[
        Literal["off", "paper", "fast", "amortised"], typer.Option(help="Learn conditioning and head weights first.")
    ] = "off",
    class_name: Annotated[str | None, typer.Option(help="What the object is: a text to be conditioned on.")] = None,
    caption: Annotated[str | None, typer.Option(help="A sentence to be conditioned on.")] = None,
    captioner: Annotated[
        Path | None, typer.Option(help="A folder with a BLIP-2 model, which makes a caption of each object.")
    ] = None,
    conditioning: Annotated[Path | None, typer.Option(help="A kernel file to be conditioned on.")] = None,
    start: Start = None,
    end: End = None,
    every: Every = 1,
    skip_damaged: SkipDamaged = False,
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
    """Track the objects of masks, boxes, points or words through a video.

    The same command again goes on after an interruption; with one more --mask FILE@F it corrects a complete run from
    frame F on.
    """
    from undertow.backbones import load
    from undertow.cli.estimate import weigh
    from undertow.runs import Latency, execute, read_cue
    from undertow.runs.budget import parse_memory
    from undertow.tracking import TrackSettings
    from undertow.tracking.task import TASK

    set_threads(threads)
    settings = TrackSettings(
        preset=preset, noising=noising, softmax_scope=softmax_scope, channel_norm=channel_norm, lost=lost, seed=seed,
        batch=(1 if is_live(video) else 4) if batch is None else batch, mask_colors=mask_colors,
        mask_threshold=mask_threshold, refine=refine,
        segmenter=segmenter, feed_back=feed_back, tuning=tuning, class_name=class_name, caption=caption,
        captioner=captioner, conditioning=conditioning, **sizes(size),
    )  # fmt: skip
    allowed = None if max_memory is None else parse_memory(max_memory)
    with opened(video, raw, start, end, every, skip_damaged) as clip:
        typed = (("mask", mask), ("box", box), ("point", point), ("text", text))
        cues = [read_cue(kind, each, clip) for kind, texts in typed for each in texts]
        loaded = cache(lambda: load(model, device=device, dtype=dtype, sites="track"))
        given = TASK.gather(cues, clip, loaded, settings)
        views = TASK.views if overlay else ()
        weigh(TASK, clip, given, loaded(), settings, views, allowed, show=False, json=json)
        latency = Latency()
        with shown_progress(json) as progress:
            execute(
                TASK, out, clip, given, loaded(), settings, views=views, overwrite=overwrite,
                progress=progress, latency=latency,
            )  # fmt: skip
    if latency.count:
        say(f"{latency}")
    say(f"masks, scores and overlay are in {out}" if overlay else f"masks and scores are in {out}")


def is_live(video: str) -> bool:
    """Returns whether a video is a pipe or a camera."""
    from undertow.video import is_stream

    return is_stream(video)


def opened(video: str, raw: str | None, start: str | None, end: str | None, every: int, skip_damaged: bool) -> "Clip":
    """Returns the frames that a command is to work on."""
    from undertow.video import Clip, Video, frame_number, open_stream

    if raw is not None and not is_live(video):
        raise SettingsError(f"--raw is for standard input and pipes, and '{video}' is neither; leave it out")
    whole = open_stream(video, raw=raw) if is_live(video) else Video(video, skip_damaged=skip_damaged)
    first = 0 if start is None else frame_number(start, whole, "--start")
    return Clip(whole, first, None if end is None else frame_number(end, whole, "--end"), every)
