"""`undertow bench`: measuring methods on annotated sequences."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from undertow.base import SettingsError, set_threads
from undertow.cli.entry import app
from undertow.cli.options import Device, Dtype, Json, Lost, Out, Overwrite, Threads, listed, show_report, shown_progress

DATASET_HELP = "davis, davis-2016, davis-2017, davis-folders, world-easy or world-hard."
bench = typer.Typer(help="Measure methods on annotated sequences.", no_args_is_help=True)
app.add_typer(bench, name="bench")


@bench.command("run")
def bench_run(
    dataset: Annotated[str, typer.Argument(help=DATASET_HELP)],
    root: Annotated[Path, typer.Option(help="The dataset's folder.")],
    out: Out = Path("bench-out"),
    models: Annotated[str, typer.Option(help="Models, separated by commas.")] = "tiny",
    presets: Annotated[str, typer.Option(help="Presets, separated by commas; empty for each model's own.")] = "",
    baselines: Annotated[str, typer.Option(help="copy, farneback, dis.")] = "copy",
    sequences: Annotated[str, typer.Option(help="Only these sequences, separated by commas.")] = "",
    lost: Lost = None,
    protocol: Annotated[Literal["full", "lab"], typer.Option(help="How to measure.")] = "full",
    reference: Annotated[str | None, typer.Option(help="Method the others are compared with.")] = None,
    overwrite: Overwrite = False,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure models and baselines on a dataset; finished sequences are kept, so a stopped run goes on."""
    from undertow.benchmarks import make_methods, open_dataset, run_benchmark, select_samples, write_report
    from undertow.tracking import TrackSettings

    set_threads(threads)
    methods = make_methods(
        listed(models), listed(presets) or [None], listed(baselines), settings=TrackSettings(lost=lost),
        device=device, dtype=dtype,
    )  # fmt: skip
    names = [method.name for method in methods]
    if reference is not None and reference not in names:
        # Before measuring, not hours later.
        raise SettingsError(f"--reference '{reference}' is not one of {', '.join(names)}")
    with shown_progress(json) as progress:
        chosen = select_samples(open_dataset(dataset, root, progress=progress), listed(sequences))
        outcomes = run_benchmark(chosen, methods, out, protocol, progress, overwrite=overwrite)
    report = write_report(outcomes, out, reference=reference)
    show_report(report)


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

    with shown_progress(json) as progress:
        sequences = open_dataset(dataset, root, progress=progress)
        outcomes = score_folder(predictions, sequences, progress=progress)
    show_report(write_report(outcomes, out))


@bench.command("report")
def bench_report(
    out: Out, reference: Annotated[str | None, typer.Option(help="Method the others are compared with.")] = None
) -> None:
    """Write tables and plots anew from the finished sequences of a benchmark folder."""
    from undertow.benchmarks import read_outcomes, write_report

    show_report(write_report(read_outcomes(out), out, reference=reference))
