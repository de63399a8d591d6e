"""Options that several commands share, how their text is read, and how results are shown."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown

from undertow.base import BarProgress, JsonProgress, Progress, SettingsError, SilentProgress

log = Console(stderr=True)

Out = Annotated[Path, typer.Option("--out", help="Folder for the results.")]
Model = Annotated[
    str, typer.Option("--model", help="Name (see `undertow models`), folder, safetensors file, or NAME=PATH.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or auto.")]
Size = Annotated[str | None, typer.Option(help="Model input as WIDTHxHEIGHT or tokens=N.")]
Preset = Annotated[str | None, typer.Option(help="drift, dift, dino, crw, pixels or latents.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads.")]
Json = Annotated[bool, typer.Option("--json", help="Events as JSON lines on standard output.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")]
Continue = Annotated[
    bool, typer.Option("--overwrite/--resume", help="Replace an earlier run in --out, or go on with it.")
]
Seed = Annotated[int, typer.Option(help="Seed of the noise.")]


def sizes(text: str | None) -> dict[str, Any]:
    """Returns `size` or `tokens` for settings from WIDTHxHEIGHT or tokens=N."""
    if text is None:
        return {}
    if match := re.fullmatch(r"(\d{1,9})x(\d{1,9})", text):
        return {"size": (int(match[1]), int(match[2]))}
    if match := re.fullmatch(r"tokens=(\d{1,12})", text):
        return {"tokens": int(match[1])}
    raise SettingsError(f"--size is '{text}'; give WIDTHxHEIGHT such as 768x432, or tokens=N such as tokens=1600")


def listed(text: str) -> list[str]:
    """Returns the parts of a text between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def shown_progress(json: bool) -> Progress:
    """Returns JSON lines if asked for, bars on a terminal, and nothing elsewhere."""
    if json:
        return JsonProgress()
    return BarProgress() if sys.stderr.isatty() else SilentProgress()


def show_report(report: str) -> None:
    """Prints a report: laid out on a terminal, as plain markdown into a file or pipe."""
    console = Console()
    if console.is_terminal:
        console.print(Markdown(report))
    else:
        print(report)
