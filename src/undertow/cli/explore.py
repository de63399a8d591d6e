"""Seeing that and how it works: `undertow demo`, `undertow inspect` and `undertow analyze`."""

import json as jsons
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from undertow.base import SettingsError, set_threads
from undertow.base.options import sizes
from undertow.cli.options import (
    Device,
    Dtype,
    Json,
    Model,
    NoisingKind,
    Out,
    Overwrite,
    Seed,
    Size,
    Threads,
    check_free,
    numbers,
)
from undertow.cli.showing import say, show_report, shown_progress


def demo(
    out: Out = Path("demo-out"), overwrite: Overwrite = False, threads: Threads = None, json: Json = False
) -> None:
    """Draw a clip in which two look-alike objects cross, track it, and score the result against the ground truth."""
    from undertow.benchmarks.demo import run_demo

    set_threads(threads)
    with shown_progress(json) as progress:
        result = run_demo(out, overwrite=overwrite, progress=progress)
    if json:
        typer.echo(jsons.dumps({"event": "report", "passed": result.passed, "report": result.report}))
    else:
        show_report(result.report)
    if not result.passed:
        raise typer.Exit(1)


def inspect(
    video: Annotated[Path, typer.Argument(help="Video file or folder of frames.")],
    at: Annotated[str, typer.Option(help="Pixel x,y of frame A.")],
    frame: Annotated[int, typer.Option(help="Number of the frame of the pixel.")] = 0,
    to: Annotated[
        int | None, typer.Option(help="Number of the other frame; 1 if not given, or 0 of a clip of one frame.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Picture to write: a file ending in .png, .jpg or .webp.")] = Path(
        "inspect.png"
    ),
    model: Model = "tiny",
    size: Size = None,
    noising: NoisingKind = None,
    timestep: Annotated[int | None, typer.Option(help="Noise level, 0 to 999.")] = None,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
) -> None:
    """Show where one pixel attends in another frame: per head, mixed, and under the drift, dift and pixels kernels."""
    from PIL import Image

    from undertow.backbones import load
    from undertow.base import atomic_path
    from undertow.drawing import inspection_sheet
    from undertow.tracking import TrackSettings, inspect
    from undertow.video import Video

    set_threads(threads)
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d*)?)\s*,\s*(\d{1,9}(?:\.\d*)?)\s*", at)
    if match is None:
        raise SettingsError(f"--at is '{at}'; give x,y in pixels, such as 320,180")
    if out.is_dir() or out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise SettingsError(f"--out '{out}' does not name a picture; give a file ending in .png, .jpg or .webp")
    settings = TrackSettings(noising=noising, timestep=timestep, **sizes(size))
    with Video(video) as opened:
        if to is None:
            to = 0 if opened.frame_count == 1 else 1
        backbone = load(model, device=device, dtype=dtype, sites="track")
        seen = inspect(opened, (float(match[1]), float(match[2])), frame, to, backbone, settings)
    titles = (f"frame {frame}, pixel {at}", f"frame {to}")
    sheet = inspection_sheet(seen.source, seen.target, seen.at, seen.maps, titles=titles)
    with atomic_path(out) as temporary:
        Image.fromarray(sheet).save(temporary)
    say(f"attention of pixel {at} is drawn in {out}")


def analyze(
    model: Annotated[str, typer.Argument(help="Name (see `undertow models`), folder, or card file.")],
    clip: Annotated[Path | None, typer.Argument(help="Video file or folder of frames; needs --tracks.")] = None,
    worlds: Annotated[
        int | None, typer.Option(help="Number of procedural clips with exact tracks; 4 if nothing else is given.")
    ] = None,
    tracks: Annotated[
        Path | None,
        typer.Option(help=".npz with tracks (q, t, 2) and visibility (q, t) of CLIP; with --prompts a folder of them."),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            help="Prompts of generated clips: objects, scenes, world, or a text file with one prompt per line."
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="Number of prompts to take.")] = 4,
    frames: Annotated[int | None, typer.Option(help="Frames of a clip; by default 8, or what the model sees.")] = None,
    every: Annotated[int | None, typer.Option(help="Take every n-th frame; by default 3, or spread over CLIP.")] = None,
    timesteps: Annotated[str, typer.Option(help="Noise levels, such as 1,101,201.")] = "",
    noising: NoisingKind = None,
    points: Annotated[int | None, typer.Option(help="Points per side of the grid on the first frame.")] = None,
    features: Annotated[bool, typer.Option(help="Also match intermediate features, for comparison.")] = True,
    reading: Annotated[
        Literal["paper", "tracker"],
        typer.Option(help="How positions are read: as in DiffTrack or as in undertow's tracker."),
    ] = "paper",
    rank: Annotated[Literal["accuracy", "harmonic"], typer.Option(help="Measure that ranks sites.")] = "accuracy",
    steps: Annotated[int, typer.Option(help="Sampling steps of generated clips.")] = 50,
    text_scale: Annotated[float | None, typer.Option(help="Text guidance of generated clips.")] = None,
    save_clips: Annotated[bool, typer.Option("--save-clips", help="Write generated clips into OUT/clips.")] = False,
    words: Annotated[
        bool, typer.Option("--words", help="Find where words are grounded instead, on --worlds pictures (24).")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the new card; by default MODEL-analysed or -words.")] = None,
    out: Out = Path("analysis-out"),
    overwrite: Overwrite = False,
    size: Size = None,
    seed: Seed = 0,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Find the layer, head and timestep of a model that carries motion, or words, and write a card that reads it."""
    set_threads(threads)
    if words and (clip is not None or prompts is not None or tracks is not None):
        raise SettingsError(
            "--words looks at --worlds, whose expressions are known; leave CLIP, --tracks and --prompts out"
        )
    asked = [clip is not None, worlds is not None, prompts is not None]
    if sum(asked) > 1:
        raise SettingsError("CLIP, --worlds and --prompts are three sorts of clips; give one of them")
    if clip is not None and tracks is None:
        raise SettingsError(f"'{clip}' has no known points; give --tracks FILE.npz, or leave the clip out for --worlds")
    if tracks is not None and clip is None and prompts is None:
        raise SettingsError("--tracks belong to a CLIP or to --prompts; give one, or leave --tracks out")
    check_free(out, "table.csv", ("table.md", "analysis.json", "card.json"), "analysis", overwrite=overwrite)
    levels = numbers("--timesteps", timesteps, "numbers such as 1,101,201")

    from undertow.analysis.analyze import AnalysisSettings, MotionClip
    from undertow.analysis.analyze import analyze as look_into
    from undertow.analysis.clips import GRIDS, filmed_clip, generated_clips, motion_clips, read_prompts, world_prompts
    from undertow.analysis.writing import write_analysis
    from undertow.backbones import load, locate
    from undertow.backbones.sampling.guidance import SamplingSettings
    from undertow.observing.settings import FrameSettings

    settings = AnalysisSettings(
        timesteps=tuple(levels),
        noising=noising,
        features=features,
        reading=reading,
        rank=rank,
        seed=seed,
        **sizes(size),
    )
    backbone = load(model, device=device, dtype=dtype)
    folder = locate(model).path if backbone.card.hub_ids == () and not backbone.card.embedded else None
    if words:
        from undertow.analysis.word_writing import write_word_analysis
        from undertow.analysis.words import analyze_words, word_pictures

        pictures = word_pictures(24 if worlds is None else worlds)
        frames_shown = FrameSettings(seed=seed, **sizes(size))
        with shown_progress(json) as progress:
            found = analyze_words(
                backbone, pictures, levels or [300, 500, 700, 850], frames=frames_shown, progress=progress
            )
        _say_analysis(write_word_analysis(found, backbone, out, name=name, folder=folder), out, json)
        return
    sampling = SamplingSettings(steps=steps, text_scale=text_scale, seed=seed)
    chunk = backbone.card.chunk
    length = (8 if chunk == 1 else min(chunk, 8)) if frames is None else frames
    with shown_progress(json) as progress:
        clips: Iterable[MotionClip]
        if clip is not None and tracks is not None:
            clips = [filmed_clip(clip, tracks, length, every)]
        elif prompts is not None:
            if count < 1:
                raise SettingsError(f"--count is {count}; give 1 or more")
            texts = world_prompts(count) if prompts == "world" else read_prompts(prompts, count)
            wanted = None if settings.size is None else (settings.size[1], settings.size[0])
            shown = backbone.input_size(480, 720, tokens=settings.tokens, size=wanted)
            clips = generated_clips(
                backbone,
                texts,
                frames=chunk if frames is None else frames,
                size=shown,
                sampling=sampling,
                timesteps=levels,
                points=GRIDS.get(prompts, 20) if points is None else points,
                tracks=tracks,
                save=out / "clips" if save_clips else None,
                progress=progress,
            )
        else:
            worlds = 4 if worlds is None else worlds
            clips = motion_clips(
                worlds,
                frames=length,
                every=3 if every is None else every,
                points=20 if points is None else points,
            )
        analysis = look_into(backbone, clips, settings, progress)
    _say_analysis(write_analysis(analysis, backbone.card, out, name=name, folder=folder), out, json)


def _say_analysis(written: list[Path], out: Path, json: bool) -> None:
    """Shows the ranking of an analysis, and says where the card is."""
    if json:
        typer.echo(jsons.dumps({"event": "report", "path": str(out / "table.md"), "card": str(out / "card.json")}))
    else:
        show_report((out / "table.md").read_text(encoding="utf-8"))
    say(f"the card of the best site is {out / 'card.json'}; use it as --model {out / 'card.json'}")
    say(f"{len(written)} files are in {out}")
