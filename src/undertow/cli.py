"""The command line: every command is a few lines over the public API.

Exit codes: 0 done, 1 the demonstration failed, 2 bad input, 3 weights unavailable, 4 would not fit in memory,
130 interrupted.
"""

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from undertow.base import (
    BarProgress,
    JsonProgress,
    Progress,
    SettingsError,
    SilentProgress,
    UndertowError,
    set_threads,
)

app = typer.Typer(
    help="Video perception from frozen diffusion models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
DATASET_HELP = "davis, davis-2016, davis-2017, davis-folders, world-easy or world-hard."
bench = typer.Typer(help="Measure methods on annotated sequences.", no_args_is_help=True)
train = typer.Typer(help="Train the embedded models.", no_args_is_help=True)
app.add_typer(bench, name="bench")
app.add_typer(train, name="train")
log = Console(stderr=True)

Out = Annotated[Path, typer.Option("--out", help="Folder for the results.")]
Model = Annotated[str, typer.Option("--model", help="Model name (see `undertow models`) or folder.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or auto.")]
Size = Annotated[str | None, typer.Option(help="Model input as WIDTHxHEIGHT or tokens=N.")]
Preset = Annotated[str | None, typer.Option(help="drift, dift, dino, crw, pixels or latents.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads.")]
Json = Annotated[bool, typer.Option("--json", help="Events as JSON lines on standard output.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")]
Seed = Annotated[int, typer.Option(help="Seed of the noise.")]


def main() -> None:
    """Runs the command line; errors made on purpose become one sentence and an exit code."""
    try:
        app()
    except UndertowError as error:
        log.print(f"[bold red]error:[/] {_escaped(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        log.print("interrupted; what was finished is kept")
        sys.exit(130)


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
        preset=preset, noising=noising, softmax_scope=softmax_scope, channel_norm=channel_norm, seed=seed, **_size(size)
    )
    with Video(video) as opened:
        masks, colours = read_masks(mask, opened, mask_colors=mask_colors)
        for colour, object_id in colours.items():
            log.print(f"colour {colour} is object {object_id}")
        backbone = load(model, device=device, dtype=dtype)
        with _progress(json) as progress:
            track_into(
                out, opened, masks, backbone, settings,
                cues=[{"mask": cue} for cue in mask], overwrite=overwrite, overlay=overlay, progress=progress,
            )  # fmt: skip
    log.print(f"masks, scores and overlay are in {out}")


@app.command()
def demo(
    out: Out = Path("demo-out"), overwrite: Overwrite = False, threads: Threads = None, json: Json = False
) -> None:
    """Draw a clip in which two look-alike objects cross, track it, and score the result against the known truth."""
    from undertow.benchmarks import run_demo

    set_threads(threads)
    with _progress(json) as progress:
        result = run_demo(out, overwrite=overwrite, progress=progress)
    _show(result.report)
    if not result.passed:
        raise typer.Exit(1)


@app.command()
def inspect(
    video: Annotated[Path, typer.Argument(help="Video file or folder of frames.")],
    at: Annotated[str, typer.Option(help="Pixel x,y of frame A.")],
    frame: Annotated[int, typer.Option(help="Number of the frame that asks.")] = 0,
    to: Annotated[int, typer.Option(help="Number of the frame that is looked at.")] = 1,
    out: Out = Path("inspect.png"),
    model: Model = "tiny",
    size: Size = None,
    noising: Annotated[Literal["invert", "noise", "clean"] | None, typer.Option(help="How frames are noised.")] = None,
    timestep: Annotated[int | None, typer.Option(help="Noise level, 0 to 999.")] = None,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
) -> None:
    """Show where one pixel looks in another frame: per head, mixed, and under the drift, dift and pixels kernels."""
    from PIL import Image

    from undertow.backbones import load
    from undertow.base import atomic_path
    from undertow.drawing import inspection_sheet
    from undertow.tracking import TrackSettings, inspect
    from undertow.video import Video

    set_threads(threads)
    match = re.fullmatch(r"\s*([\d.]+)\s*,\s*([\d.]+)\s*", at)
    if match is None:
        raise SettingsError(f"--at is '{at}'; give x,y in pixels, such as 320,180")
    settings = TrackSettings(noising=noising, timestep=timestep, **_size(size))
    with Video(video) as opened:
        backbone = load(model, device=device, dtype=dtype)
        seen = inspect(opened, (float(match[1]), float(match[2])), frame, to, backbone, settings)
    titles = (f"frame {frame}, pixel {at}", f"frame {to}")
    sheet = inspection_sheet(seen.source, seen.target, seen.at, seen.maps, titles=titles)
    with atomic_path(out) as temporary:
        Image.fromarray(sheet).save(temporary)
    log.print(f"attention of pixel {at} is drawn in {out}")


@app.command()
def models() -> None:
    """List the models undertow knows."""
    from undertow.backbones import list_cards

    table = Table("name", "licence", "prediction", "tokens", "preset", "noising", "MB per frame", "notes")
    for card in list_cards():
        noising = f"{card.noising.kind} {card.noising.timestep}"
        memory = f"{card.memory_per_frame / 1e6:.1f}"
        table.add_row(
            card.name, card.licence, card.prediction, str(card.token_budget), card.preset, noising, memory, card.notes
        )
    Console().print(table)


@bench.command("run")
def bench_run(
    dataset: Annotated[str, typer.Argument(help=DATASET_HELP)],
    root: Annotated[Path, typer.Option(help="The dataset's folder.")],
    out: Out = Path("bench-out"),
    models: Annotated[str, typer.Option(help="Models, separated by commas.")] = "tiny",
    presets: Annotated[str, typer.Option(help="Presets, separated by commas; empty for each model's own.")] = "",
    baselines: Annotated[str, typer.Option(help="copy, farneback, dis.")] = "copy",
    sequences: Annotated[str, typer.Option(help="Only these sequences, separated by commas.")] = "",
    protocol: Annotated[Literal["full", "lab"], typer.Option(help="How to measure.")] = "full",
    reference: Annotated[str | None, typer.Option(help="Method the others are compared with.")] = None,
    overwrite: Overwrite = False,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure models and baselines on a dataset; finished sequences are kept, so a stopped run goes on."""
    from undertow.benchmarks import make_methods, open_dataset, run_benchmark, select_sequences, write_report

    set_threads(threads)
    methods = make_methods(_list(models), _list(presets) or [None], _list(baselines), device=device, dtype=dtype)
    with _progress(json) as progress:
        chosen = select_sequences(open_dataset(dataset, root, progress=progress), _list(sequences))
        outcomes = run_benchmark(chosen, methods, out, protocol, progress, overwrite=overwrite)
    report = write_report(outcomes, out, reference=reference)
    _show(report)


@bench.command("score")
def bench_score(
    predictions: Annotated[Path, typer.Argument(help="Folder of <sequence>/<frame>.png.")],
    dataset: Annotated[str, typer.Option(help=DATASET_HELP)],
    root: Annotated[Path, typer.Option(help="The dataset's folder.")],
    out: Out = Path("score-out"),
    json: Json = False,
) -> None:
    """Score a folder of masks as the official evaluator does."""
    from undertow.benchmarks import open_dataset, score_folder, write_report

    with _progress(json) as progress:
        sequences = open_dataset(dataset, root, progress=progress)
        outcomes = score_folder(predictions, sequences, progress=progress)
    _show(write_report(outcomes, out))


@bench.command("report")
def bench_report(
    out: Out, reference: Annotated[str | None, typer.Option(help="Method the others are compared with.")] = None
) -> None:
    """Write tables and plots anew from the finished sequences of a benchmark folder."""
    from undertow.benchmarks import read_outcomes, write_report

    _show(write_report(read_outcomes(out), out, reference=reference))


@train.command("embedded")
def train_embedded(
    name: Annotated[Literal["tiny"], typer.Argument(help="Which model.")],
    work: Annotated[Path, typer.Option(help="Folder of pictures and checkpoints; the same folder continues a run.")],
    out: Out,
    minutes: Annotated[float | None, typer.Option(help="Stop after this long, at a checkpoint.")] = None,
    processes: Annotated[int, typer.Option(help="Processes that draw pictures.")] = 2,
    snapshots: Annotated[str, typer.Option(help="Denoiser steps to keep in WORK/snapshots, separated by commas.")] = "",
    device: Device = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Train an embedded model from nothing to weights, in slices that can be continued."""
    from undertow.training.recipe import train_tiny

    set_threads(threads)
    steps = _numbers(snapshots)
    with _progress(json) as progress:
        done = train_tiny(
            work, out, minutes=minutes, processes=processes, snapshots=steps, device=device, progress=progress
        )
    log.print(f"{name} is in {out}" if done else f"paused; the same command with --work {work} goes on")


def _size(text: str | None) -> dict[str, Any]:
    """Returns `size` or `tokens` for settings from WIDTHxHEIGHT or tokens=N."""
    if text is None:
        return {}
    if match := re.fullmatch(r"(\d+)x(\d+)", text):
        return {"size": (int(match[1]), int(match[2]))}
    if match := re.fullmatch(r"tokens=(\d+)", text):
        return {"tokens": int(match[1])}
    raise SettingsError(f"--size is '{text}'; give WIDTHxHEIGHT such as 768x432, or tokens=N such as tokens=1600")


def _numbers(text: str) -> list[int]:
    """Returns whole numbers separated by commas."""
    if not re.fullmatch(r"(\s*\d+\s*(,\s*\d+\s*)*)?", text):
        raise SettingsError(f"--snapshots is '{text}'; give steps such as 500,1000,2000")
    return [int(part) for part in _list(text)]


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _progress(json: bool) -> Progress:
    if json:
        return JsonProgress()
    return BarProgress() if sys.stderr.isatty() else SilentProgress()


def _show(report: str) -> None:
    """Prints a report: laid out on a terminal, as plain markdown into a file or pipe."""
    console = Console()
    if console.is_terminal:
        console.print(Markdown(report))
    else:
        print(report)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
