"""`undertow bench sweep`, `rivals` and `speed`: many settings, many models, and where time goes, in one command."""

from pathlib import Path
from typing import Annotated

import typer

from undertow.base import SettingsError, set_threads
from undertow.base.options import assigned, listed, sizes
from undertow.cli.bench import Chosen, DatasetName, ProtocolName, Root, Split, Workers, bench
from undertow.cli.options import Device, Dtype, Json, Out, Overwrite, Threads
from undertow.cli.showing import show_report, show_written, shown_progress

Assignments = Annotated[
    list[str], typer.Option("--set", metavar="NAME=VALUE", help="A setting of tracking, such as tokens=3600.")
]


@bench.command("sweep")
def bench_sweep(
    dataset: DatasetName,
    root: Root,
    over: Annotated[
        list[str], typer.Option(metavar="NAME=VALUES", help="A setting and its values, such as tokens=900,1600,3600.")
    ],
    out: Out = Path("sweep"),
    models: Annotated[str, typer.Option(help="Models, separated by commas.")] = "tiny",
    presets: Annotated[str, typer.Option(help="Presets, separated by commas; empty for each model's own.")] = "",
    protocol: ProtocolName = "lab",
    sequences: Chosen = "",
    split: Split = None,
    workers: Workers = 1,
    overwrite: Overwrite = False,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure every combination of settings of mask tracking; writes a table, a chart and the best as a card.

    Finished sequences are kept, so a stopped sweep resumes and a wider one measures only what is new.
    """
    from undertow.benchmarks.core.datasets import open_dataset, select_samples
    from undertow.benchmarks.sweep import REPORT, parse_axes, points, run_sweep

    set_threads(threads)
    swept = points(listed(models), listed(presets) or [None], parse_axes(over), device=device, dtype=dtype)
    with shown_progress(json) as progress:
        samples = select_samples(open_dataset(dataset, root, split, progress), listed(sequences))
        report = run_sweep(
            samples, swept, out, protocol, progress, overwrite=overwrite, workers=workers, threads=threads,
            root=root, split=split,
        )  # fmt: skip
    show_written(report, json, path=out / REPORT)


@bench.command("rivals")
def bench_rivals(
    dataset: DatasetName,
    root: Annotated[Path | None, typer.Option(help="The dataset's folder; not needed with --dry-run.")] = None,
    out: Out = Path("rivals"),
    models: Annotated[str, typer.Option(help="Only these models, separated by commas.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure nothing; list downloads, sizes, licences, gates and costs.")
    ] = False,
    assignments: Assignments = [],  # noqa: B006
    protocol: ProtocolName = "full",
    sequences: Chosen = "",
    split: Split = None,
    workers: Workers = 1,
    overwrite: Overwrite = False,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure every model whose weights are here, by its own settings and as published, beside what papers print.

    Nothing is downloaded: `undertow models fetch NAME` does that. Finished sequences are kept.
    """
    from undertow.benchmarks.core.datasets import open_dataset, select_samples
    from undertow.benchmarks.rivals.running import REPORT, cost_table, plan_table, rivals, run_rivals

    set_threads(threads)
    found = rivals(listed(models))
    if dry_run:
        show_report(f"{plan_table(found).markdown()}\n\n{cost_table(found).markdown()}")
        return
    if root is None:
        raise SettingsError("--root is missing; give the dataset's folder, or --dry-run")
    with shown_progress(json) as progress:
        samples = select_samples(open_dataset(dataset, root, split, progress), listed(sequences))
        report = run_rivals(
            samples, found, out, protocol, progress, assignments=assignments, overwrite=overwrite, workers=workers,
            threads=threads, root=root, split=split, device=device, dtype=dtype,
        )  # fmt: skip
    show_written(report, json, path=out / REPORT)


@bench.command("speed")
def bench_speed(
    out: Out = Path("speed"),
    models: Annotated[str, typer.Option(help="Models, separated by commas.")] = "tiny",
    frame: Annotated[str, typer.Option(help="Size of the frames.", metavar="WIDTHxHEIGHT")] = "854x480",
    assignments: Assignments = [],  # noqa: B006
    references: Annotated[int, typer.Option(min=1, max=100, help="Frames that each is compared with.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Times that each way is timed.")] = 3,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Models in their published shape; nothing is fetched.")
    ] = False,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Time every stage of a frame beside other ways to do it, and against what this machine can do at most."""
    from undertow.benchmarks.speed.running import REPORT, SpeedSettings, run_speed
    from undertow.tracking import TrackSettings

    set_threads(threads)
    width, height = sizes(frame).get("size", (0, 0))
    if min(width, height) < 32 or max(width, height) > 8192:
        raise SettingsError(f"--frame is '{frame}'; give WIDTHxHEIGHT with sides from 32 to 8192, such as 854x480")
    asked = SpeedSettings(
        tuple(listed(models)), (height, width), assigned(TrackSettings(), assignments), references, repeats,
        random_weights, device, dtype,
    )  # fmt: skip
    with shown_progress(json) as progress:
        report = run_speed(asked, out, progress)
    show_written(report, json, path=out / REPORT, csv=out / "speed.csv")
