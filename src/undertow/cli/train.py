"""`undertow train`: the recipes of the embedded models."""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from undertow.base import SettingsError, set_threads
from undertow.cli.entry import app
from undertow.cli.options import Device, Json, Out, Threads, listed, log, shown_progress

train = typer.Typer(help="Train the embedded models.", no_args_is_help=True)
app.add_typer(train, name="train")


@train.command("embedded")
def train_embedded(
    name: Annotated[Literal["tiny", "tiny-sam"], typer.Argument(help="Which model.")],
    work: Annotated[Path, typer.Option(help="Folder of pictures and checkpoints; the same folder continues a run.")],
    out: Out,
    minutes: Annotated[float | None, typer.Option(help="Stop after this long, at a checkpoint.")] = None,
    processes: Annotated[int, typer.Option(help="Processes that draw pictures.", min=1)] = 2,
    snapshots: Annotated[str, typer.Option(help="Denoiser steps to keep in WORK/snapshots, separated by commas.")] = "",
    device: Device = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Train an embedded model from nothing to weights, in slices that can be continued."""
    from undertow.training.recipe import train_tiny
    from undertow.training.segmenter_recipe import train_tiny_sam

    set_threads(threads)
    if minutes is not None and not minutes > 0:
        raise SettingsError(f"--minutes is {minutes:g}; give more than 0, or leave it out to train to the end")
    steps = numbers(snapshots)
    if steps and name != "tiny":
        raise SettingsError(f"--snapshots is for tiny, not for {name}; leave it out")
    with shown_progress(json) as progress:
        if name == "tiny-sam":
            done = train_tiny_sam(work, out, minutes=minutes, processes=processes, device=device, progress=progress)
        else:
            done = train_tiny(
                work, out, minutes=minutes, processes=processes, snapshots=steps, device=device, progress=progress
            )
    log.print(f"{name} is in {out}" if done else f"paused; the same command with --work {work} goes on")


def numbers(text: str) -> list[int]:
    """Returns whole numbers separated by commas."""
    if not re.fullmatch(r"(\s*\d{1,9}\s*(,\s*\d{1,9}\s*)*)?", text):
        raise SettingsError(f"--snapshots is '{text}'; give steps such as 500,1000,2000")
    return [int(part) for part in listed(text)]
