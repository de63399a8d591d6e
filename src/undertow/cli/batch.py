"""`undertow batch`: thousands of clips, by warm workers of this machine or of a Ray cluster."""

import json as jsons
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from undertow.cli.options import Device, Dtype, Json, Model, Out
from undertow.cli.showing import say, show_table, shown_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from undertow.batches import BatchSettings, Row


def batch(
    manifest: Annotated[
        Path,
        typer.Argument(help="CSV or JSON lines: clip, out, and options of the task's command.", show_default=False),
    ],
    out: Out,
    task: Annotated[
        Literal["track", "points", "parse", "refer"], typer.Option(help="Task to run on each clip.")
    ] = "track",
    model: Model = "tiny",
    assignments: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="A setting of every clip, such as topk=5.")
    ] = [],  # noqa: B006
    views: Annotated[
        str | None, typer.Option(help="Pictures of every clip, or none; the task's usual ones if not given.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder of clips and cues; by default the manifest's own.", metavar="FOLDER")
    ] = None,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Processes of this machine, or a Ray cluster.")] = (
        "local"
    ),
    workers: Annotated[int, typer.Option(min=1, help="Number of parallel workers.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each worker.")] = 1,
    attempts: Annotated[int, typer.Option(help="Attempts for a clip whose worker is lost.")] = 3,
    shard: Annotated[str, typer.Option(help="Only part i of n, written i/n, as for a Slurm array.")] = "1/1",
    retry: Annotated[bool, typer.Option("--retry", help="Only clips that failed before.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing runs.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only print what the remaining clips would take.")
    ] = False,
    max_memory: Annotated[
        str | None, typer.Option(help="Refuse a run that would need more memory, such as 8GB.", metavar="SIZE")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    json: Json = False,
) -> None:
    """Run a task on every clip of a table; finished clips are skipped, and failures are listed at the end.

    Repeat the command to resume after an interruption and to retry failed clips.
    """
    from undertow.base import counted, set_threads
    from undertow.batches import BatchSettings, read_manifest, run_batch
    from undertow.batches.running import check_result
    from undertow.engines import parse_shard
    from undertow.runs.budget import parse_memory

    settings = BatchSettings(
        out, task, model, tuple(assignments), views, root, device, dtype, engine, workers, threads, attempts,
        parse_shard(shard), retry, overwrite, None if max_memory is None else parse_memory(max_memory),
    )  # fmt: skip
    rows = read_manifest(manifest, settings)
    if estimate:
        set_threads(threads)
        _show_estimate(rows, settings, json)
        return
    with shown_progress(json) as progress:
        result = run_batch(rows, settings, progress)
    if json:
        print(jsons.dumps({"event": "batch", "rows": result.rows, "made": result.made, "kept": result.kept,
                           "failed": len(result.failures)}))  # fmt: skip
    if result.left:
        say(f"left: {counted(result.left, 'clip')} that did not fail before; leave --retry out to run the rest")
    check_result(result, settings)
    say(f"{counted(result.made, 'clip')} done, {result.kept} done before; results are in {out}")


def _show_estimate(rows: "Sequence[Row]", settings: "BatchSettings", json: bool) -> None:
    """Shows what a batch would take, and fails if clips cannot be begun."""
    from undertow.base import SettingsError, counted
    from undertow.batches import estimate_batch
    from undertow.runs.budget import shown_memory

    with shown_progress(json) as progress:
        found = estimate_batch(rows, settings, progress)
    if json:
        print(jsons.dumps({"event": "estimate", **found.as_dict()}))
    else:
        hours, seconds = divmod(round(found.seconds), 3600)
        show_table(
            [
                ("clips", f"{found.clips} left of {len(rows)}, of {found.kinds} sizes or settings"),
                ("frames", str(found.frames)),
                ("time", f"{hours} h {seconds // 60:02d} min {seconds % 60:02d} s with {settings.workers} workers"),
                ("memory", shown_memory(found.memory)),
                ("disk", shown_memory(found.disk)),
            ]
        )
        for sentence in found.failures:
            say(sentence)
    if found.failures:
        raise SettingsError(
            f"{counted(len(found.failures), 'clip')} cannot be begun, the first at {found.failures[0]}; correct these "
            "rows"
        )
