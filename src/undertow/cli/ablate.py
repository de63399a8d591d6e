"""`undertow bench ablate`: what each component of mask tracking is worth."""

import json as jsons
from pathlib import Path
from typing import Annotated, Literal

import typer

from undertow.base import SettingsError, set_threads
from undertow.cli.bench import Chosen, DatasetName, Root, Split, Workers, bench
from undertow.cli.options import Device, Dtype, Json, Out, Overwrite, Threads, listed
from undertow.cli.showing import show_report, shown_progress

ONLY_HELP = (
    "Only these, separated by commas: conditioning, heads, components, runtime, refiners, attention, noising, prompts, "
    "embeddings, models, or table1, figure4, ..."
)


@bench.command("ablate")
def bench_ablate(
    dataset: DatasetName,
    root: Root,
    out: Out = Path("ablation"),
    model: Annotated[str, typer.Option(help="Name or folder of the model.")] = "tiny",
    only: Annotated[str, typer.Option(help=ONLY_HELP)] = "",
    variants: Annotated[
        str, typer.Option(help="Only these rows, beside the first: minmax,nearest,no-window, ...")
    ] = "",
    protocol: Annotated[Literal["full", "lab"], typer.Option(help="How to measure.")] = "lab",
    sequences: Chosen = "",
    split: Split = None,
    segmenter: Annotated[str, typer.Option(help="What variants with SAM prompt: a name or a folder.")] = "sam-vit-h",
    timesteps: Annotated[str, typer.Option(help="Noise levels of the curves, separated by commas.")] = "",
    tuning_steps: Annotated[int | None, typer.Option(min=1, help="Steps of tuning at most, for trials.")] = None,
    tables_only: Annotated[bool, typer.Option("--tables-only", help="Measure nothing; write what is there.")] = False,
    workers: Workers = 1,
    overwrite: Overwrite = False,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure components, conditioning, refiners and more one by one, beside what the paper prints.

    Finished sequences are kept, so a stopped run goes on. Writes ablation.md, and a CSV and a chart of each ablation.
    """
    from undertow.benchmarks.ablation.running import AblationSettings, run_ablations
    from undertow.benchmarks.ablation.variants import Scale
    from undertow.benchmarks.core.datasets import open_dataset, select_samples

    set_threads(threads)
    usual = Scale()
    scale = Scale(timesteps=_timesteps(timesteps) or usual.timesteps, tuning_steps=tuning_steps)
    settings = AblationSettings(
        model=model, only=listed(only), variants=listed(variants), protocol=protocol, scale=scale, segmenter=segmenter,
        device=device, dtype=dtype, workers=workers, threads=threads, overwrite=overwrite, tables_only=tables_only,
    )  # fmt: skip
    with shown_progress(json) as progress:
        samples = select_samples(open_dataset(dataset, root, split, progress), listed(sequences))
        report = run_ablations(samples, out, settings, progress, root=root, split=split)
    if json:
        typer.echo(jsons.dumps({"event": "report", "path": str(out / "ablation.md")}))
    else:
        show_report(report)


def _timesteps(text: str) -> tuple[int, ...]:
    """Returns noise levels separated by commas."""
    parts = listed(text)
    if not all(part.isdecimal() and 0 < int(part) < 1000 for part in parts):
        raise SettingsError(f"--timesteps is '{text}'; give numbers from 1 to 999, such as 21,81,201")
    return tuple(sorted({int(part) for part in parts}))
