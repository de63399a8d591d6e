"""Options that several commands share, and how their text is read."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from undertow.base import SettingsError

Out = Annotated[Path, typer.Option("--out", help="Folder for the results.")]
Model = Annotated[
    str, typer.Option("--model", help="Name (see `undertow models`), folder, safetensors file, or NAME=PATH.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps or auto.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or auto.")]
Size = Annotated[str | None, typer.Option(help="Model input as WIDTHxHEIGHT or tokens=N.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads.")]
Json = Annotated[bool, typer.Option("--json", help="Events as JSON lines on standard output.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")]
Seed = Annotated[int, typer.Option(help="Seed of the noise.")]
NoisingKind = Annotated[Literal["invert", "noise", "clean"] | None, typer.Option(help="How frames are noised.")]
Lost = Annotated[
    Literal["empty", "keep"] | None,
    typer.Option(help="Whether a lost object gets no pixels, or the best guess; by default what the card says."),
]


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


def numbers(option: str, text: str) -> list[int]:
    """Returns the whole numbers between the commas of an option's text."""
    parts = listed(text)
    stray = [part for part in parts if not re.fullmatch(r"\d{1,9}", part)]
    if stray:
        raise SettingsError(f"{option} has '{stray[0]}'; give whole numbers separated by commas, such as 0,25,50")
    return [int(part) for part in parts]


def check_free(out: Path, first: str, others: Sequence[str], what: str, *, overwrite: bool) -> None:
    """Raises SettingsError if results cannot be written into a folder, or would replace files there unasked.

    That is found out before anything is computed, not when all is done.

    Args:
        out: the folder.
        first: the file by which an earlier result is known.
        others: more files that will be written; without the first they may be anyone's.
        what: an earlier result is called.
        overwrite: whether files may be replaced.
    """
    there = next(each for each in (out, *out.absolute().parents) if each.exists())
    if not there.is_dir():
        raise SettingsError(f"--out '{there}' is a file; name a folder")
    if not os.access(there, os.W_OK):
        raise SettingsError(f"'{there}' cannot be written to; choose another --out")
    if overwrite:
        return
    if (out / first).exists():
        raise SettingsError(f"'{out}' holds an earlier {what}; give --overwrite to replace it, or choose another --out")
    for name in others:
        if (out / name).exists():
            raise SettingsError(
                f"'{out / name}' exists already; give --overwrite to replace it, or choose another --out"
            )


def choose_views(words: Sequence[str], files: Sequence[str]) -> tuple[str, ...]:
    """Returns those of the files of views whose names were typed, such as "overlay.mp4"; "none" for none.

    Raises:
        SettingsError: for a word that is no view.
    """
    names = {file.partition(".")[0]: file for file in files}
    stray = [word for word in words if word not in (*names, "none")]
    if stray:
        raise SettingsError(f"view '{stray[0]}' is not one of {', '.join((*names, 'none'))}")
    return tuple(file for name, file in names.items() if name in words)
