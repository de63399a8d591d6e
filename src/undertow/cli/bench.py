"""`undertow bench`: measuring methods, anyone's results, and components of mask tracking on annotated videos."""

import json as jsons
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from undertow.base import SettingsError, printable, set_threads
from undertow.base.options import listed
from undertow.cli.options import Device, Dtype, Json, Lost, Out, Overwrite, Threads, numbers
from undertow.cli.showing import show_report, show_written, shown_progress

if TYPE_CHECKING:
    from undertow.benchmarks.core.sample import Sample


DATASET_HELP = "A name that `undertow bench datasets` lists, or davis for whichever DAVIS layout --root has."
bench = typer.Typer(help="Measure methods on annotated videos.", no_args_is_help=True)

DatasetName = Annotated[str, typer.Argument(help=DATASET_HELP, show_default=False)]
Root = Annotated[Path, typer.Option(help="The dataset's folder.")]
Split = Annotated[str | None, typer.Option(help="Split; the dataset's usual one if not given.")]
Rules = Annotated[str | None, typer.Option(help="Scoring rules; the dataset's usual ones if not given.")]
Chosen = Annotated[str, typer.Option("--sequences", help="Only these sequences, separated by commas.")]
ProtocolName = Annotated[Literal["full", "lab"], typer.Option(help="How to measure.")]
Workers = Annotated[int, typer.Option(min=1, help="Number of parallel processes.")]
Reference = Annotated[str | None, typer.Option(help="Method to compare the others with.")]


@bench.command("datasets")
def bench_datasets(
    name: Annotated[str | None, typer.Argument(help="Dataset to show in detail.")] = None,
) -> None:
    """List the datasets, or show where to get one and how to lay out its folder."""
    from undertow.benchmarks.core.datasets import DATASETS, get_dataset

    if name is None:
        rows = [f"| {each.name} | {each.task} | {each.title} |" for each in map(get_dataset, DATASETS)]
        show_report("\n".join(["| name | task | |", "|---|---|---|", *rows]))
        return
    one = get_dataset(name)
    counts = ", ".join(f"{split} {count}" for split, count in one.counts) or "not fixed"
    tree = "\n".join(f"    {line}" for line in one.tree.splitlines())
    show_report(
        f"# {one.name}\n\n{one.title}\n\n- task: {one.task}\n- from: {one.source}\n- splits: {', '.join(one.splits)}\n"
        f"- published sizes: {counts}\n- rules: {', '.join(one.rules)}\n\nWhat `--root` must hold:\n\n{tree}"
    )


@bench.command("check")
def bench_check(dataset: DatasetName, root: Root, split: Split = None, json: Json = False) -> None:
    """List what is missing or odd in a dataset's folder, before a long run."""
    from undertow.benchmarks.core.datasets import check_dataset

    errors: list[str] = []
    odd = 0
    with shown_progress(json) as progress:
        for finding in check_dataset(dataset, root, split, progress):
            facts = {"severity": finding.severity, "where": str(finding.where), "problem": finding.problem}
            line = f"{finding.where}: {finding.problem}"
            typer.echo(jsons.dumps({"event": "finding", **facts}) if json else printable(f"{finding.severity}: {line}"))
            if finding.severity == "error":
                errors.append(line)
            else:
                odd += 1
    if errors:
        more = f"; and {len(errors) - 1} more are listed above" if len(errors) > 1 else ""
        raise SettingsError(f"'{root}' cannot be scored as it is ({errors[0]}{more}); replace the named files")
    if not json:
        seen = f"; {odd} odd {'thing is' if odd == 1 else 'things are'} listed" if odd else ""
        typer.echo(f"'{root}' can be scored{seen}")


@bench.command("run")
def bench_run(
    dataset: DatasetName,
    root: Root,
    out: Out = Path("bench-out"),
    models: Annotated[str, typer.Option(help="Models, separated by commas.")] = "tiny",
    presets: Annotated[str, typer.Option(help="Presets, separated by commas; empty for each model's own.")] = "",
    baselines: Annotated[str | None, typer.Option(help="Baselines, such as copy,dis; by default the simplest.")] = None,
    task: Annotated[str | None, typer.Option(help="Task, such as points; by default the dataset's.")] = None,
    method: Annotated[str, typer.Option(help="Methods of parsing: vidseg,propagate,emerdiff.")] = "",
    quality: Annotated[str, typer.Option(help="Qualities of parsing: turbo,exact.")] = "",
    anchors: Annotated[str, typer.Option(help="Frames to give as anchors, each in its own run: 0,25,50.")] = "",
    sequences: Chosen = "",
    split: Split = None,
    rules: Rules = None,
    lost: Lost = None,
    refine: Annotated[
        Literal["none", "guided", "crf", "sam"], typer.Option(help="Refine masks after propagation.")
    ] = "none",
    segmenter: Annotated[str, typer.Option(help="Segmenter of --refine sam: a name or a folder.")] = "sam-vit-h",
    assignments: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="Any setting of the task, such as topk=5.")
    ] = [],  # noqa: B006
    protocol: ProtocolName = "full",
    reference: Reference = None,
    keep: Annotated[bool, typer.Option("--keep", help="Also write the predictions, below OUT/results.")] = False,
    workers: Workers = 1,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Processes of this machine, or a Ray cluster.")] = (
        "local"
    ),
    shard: Annotated[
        str | None,
        typer.Option(help="Measure part i of n, written i/n; `bench report` joins them."),
    ] = None,
    overwrite: Overwrite = False,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure models and baselines on a dataset; finished sequences are kept, so a stopped run resumes."""
    from undertow.benchmarks.core.datasets import dataset_of, open_dataset, select_samples
    from undertow.benchmarks.core.methods import baselines_of, make_methods
    from undertow.benchmarks.core.runner import run_benchmark
    from undertow.benchmarks.parse.posed import with_anchors
    from undertow.benchmarks.report.writing import write_report
    from undertow.engines import parse_shard

    set_threads(threads)
    part = None if shard is None else parse_shard(shard)
    dataset, task = dataset_of(dataset, root, task)
    named = list(baselines_of(task))[:1] if baselines is None else listed(baselines)
    ways = listed(presets)
    options: dict[str, Any] = {"device": device, "dtype": dtype, "assignments": assignments}
    if listed(models) and task == "parse":
        from undertow.benchmarks.parse.methods import parse_ways

        ways = parse_ways(listed(method), listed(quality), ways)
    elif listed(models) and task == "masks":
        from undertow.tracking import TrackSettings

        options["settings"] = TrackSettings(lost=lost, refine=refine, segmenter=segmenter)
    methods = make_methods(listed(models), ways or [None], named, task=task, **options)
    names = [method.name for method in methods]
    if reference is not None and reference not in names:
        # Before measuring, not hours later.
        raise SettingsError(f"--reference '{reference}' is not one of {', '.join(names)}")
    with shown_progress(json) as progress:
        chosen = select_samples(open_dataset(dataset, root, split, progress), listed(sequences))
        chosen = with_anchors(chosen, numbers("--anchors", anchors, "frames such as 0,25,50"), protocol)
        outcomes = run_benchmark(
            chosen, methods, out, protocol, progress, rules=rules, keep=keep, overwrite=overwrite,
            engine=engine, workers=workers, threads=threads, shard=part, root=root, split=split,
        )  # fmt: skip
    if part is None:
        show_written(
            write_report(outcomes, out, reference, chosen), json, path=out / "report.html", csv=out / "metrics.csv"
        )


@bench.command("score")
def bench_score(
    dataset: DatasetName,
    root: Root,
    results: Annotated[Path, typer.Option(help="Folder of results, laid out as `undertow bench datasets NAME` says.")],
    out: Out = Path("score-out"),
    split: Split = None,
    rules: Rules = None,
    sequences: Chosen = "",
    workers: Workers = 1,
    json: Json = False,
) -> None:
    """Score anyone's masks or tracks as the official evaluator does."""
    from undertow.benchmarks.core.datasets import open_dataset, select_samples
    from undertow.benchmarks.core.runner import score_folder
    from undertow.benchmarks.report.writing import write_report

    with shown_progress(json) as progress:
        samples = select_samples(open_dataset(dataset, root, split, progress), listed(sequences))
        outcomes = score_folder(results, samples, rules=rules, workers=workers, progress=progress)
    for outcome in outcomes:
        outcome.write(out)
    show_written(write_report(outcomes, out, samples=samples), json, path=out / "report.html", csv=out / "metrics.csv")


@bench.command("submit")
def bench_submit(
    dataset: DatasetName,
    root: Root,
    results: Annotated[Path, typer.Option(help="Folder of results.")],
    out: Annotated[Path, typer.Option("--out", help="The zip to make.")] = Path("submission.zip"),
    split: Split = None,
    json: Json = False,
) -> None:
    """Check that results are complete and pack them into the zip for a dataset's server."""
    from undertow.benchmarks.core.datasets import open_dataset
    from undertow.benchmarks.core.submissions import SUBMISSIONS, write_submission

    kind = next((name for name in SUBMISSIONS if dataset == name or dataset.startswith(f"{name}-")), None)
    if kind is None:
        raise SettingsError(f"no server takes results of '{dataset}'; `bench submit` knows {', '.join(SUBMISSIONS)}")
    with shown_progress(json) as progress:
        samples = open_dataset(dataset, root, split, progress)
        path = write_submission(kind, results, samples, out, progress)
    if json:
        typer.echo(jsons.dumps({"event": "submission", "path": str(path), "samples": len(samples)}))
    else:
        typer.echo(f"{path} holds the results of {len(samples)} samples")


@bench.command("report")
def bench_report(out: Out, reference: Reference = None) -> None:
    """Write tables, charts and the page again from the finished sequences of a benchmark folder."""
    from undertow.benchmarks.core.outcomes import read_outcomes
    from undertow.benchmarks.report.writing import write_report

    outcomes = read_outcomes(out)
    show_report(write_report(outcomes, out, reference, _samples_of(out, outcomes[0].dataset)))


def _samples_of(out: Path, dataset: str) -> "Sequence[Sample]":
    """Returns the samples of a benchmark's dataset where they may be shown and are still where they were, else none."""
    from undertow.base import UndertowError
    from undertow.benchmarks.core.datasets import get_dataset, open_dataset
    from undertow.benchmarks.core.manifest import read_manifest

    try:
        if not get_dataset(dataset).may_show:
            return ()
        facts = read_manifest(out)
        return open_dataset(dataset, facts["root"], facts.get("split"), draw=False)
    except (UndertowError, KeyError, TypeError):
        return ()


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
    variants: Annotated[str, typer.Option(help="Only these rows and the first: minmax,nearest,no-window, ...")] = "",
    protocol: ProtocolName = "lab",
    sequences: Chosen = "",
    split: Split = None,
    segmenter: Annotated[
        str, typer.Option(help="Segmenter of the variants with SAM: a name or a folder.")
    ] = "sam-vit-h",
    timesteps: Annotated[str, typer.Option(help="Noise levels of the curves, separated by commas.")] = "",
    tuning_steps: Annotated[int | None, typer.Option(min=1, help="Steps of tuning at most, for trials.")] = None,
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Measure nothing; write the tables of what is there.")
    ] = False,
    workers: Workers = 1,
    overwrite: Overwrite = False,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Measure components, conditioning, refiners and more one by one, beside the paper's numbers.

    Finished sequences are kept, so a stopped run resumes. Writes ablation.md, and a CSV and a chart of each ablation.
    """
    from undertow.benchmarks.ablation.running import AblationSettings, run_ablations
    from undertow.benchmarks.ablation.variants import Scale
    from undertow.benchmarks.core.datasets import open_dataset, select_samples

    set_threads(threads)
    usual = Scale()
    levels = numbers("--timesteps", timesteps, "numbers from 1 to 999, such as 21,81,201", 1, 999)
    scale = Scale(timesteps=tuple(sorted({*levels})) or usual.timesteps, tuning_steps=tuning_steps)
    settings = AblationSettings(
        model=model, only=listed(only), variants=listed(variants), protocol=protocol, scale=scale, segmenter=segmenter,
        device=device, dtype=dtype, workers=workers, threads=threads, overwrite=overwrite, tables_only=tables_only,
    )  # fmt: skip
    with shown_progress(json) as progress:
        samples = select_samples(open_dataset(dataset, root, split, progress), listed(sequences))
        report = run_ablations(samples, out, settings, progress, root=root, split=split)
    show_written(report, json, path=out / "ablation.md")
