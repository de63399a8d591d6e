"""How the command line shows what it did, and how errors end it: one sentence, and an exit code."""

import json as jsons
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

from undertow.base import (
    BarProgress,
    JsonProgress,
    Progress,
    SilentProgress,
    UndertowError,
    out_of_memory,
    printable,
    refusal,
)

BAD_INPUT, TOO_LARGE, INTERRUPTED, BUG = 2, 4, 130, 1


def explain(error: Exception) -> tuple[int, str]:
    """Returns the exit code an error ends the command with, and the sentence that says what was found and what to do.

    The sentence is empty if what there is to say has been shown already.
    """
    if isinstance(error, UndertowError):
        return error.exit_code, str(error)
    # Usage errors: their class is click's or, in later versions of typer, typer's own; what both have is this method.
    if hasattr(error, "format_message"):
        return BAD_INPUT, _usage(error)
    if out_of_memory(error):
        return TOO_LARGE, "memory ran out; use a smaller --size (such as tokens=1600), or close other programs"
    if isinstance(error, OSError) and error.errno is not None:
        return BAD_INPUT, refusal(error)
    # Libraries that only some commands need are imported when needed, with a word on how to get them.
    if isinstance(error, ImportError) and "pip install" in str(error):
        return BAD_INPUT, str(error)
    kind = type(error).__name__
    what = f"{kind}: {error}" if str(error) else kind
    return BUG, f"undertow itself failed ({what}); run it again with UNDERTOW_DEBUG=1 and report what it shows as a bug"


def _usage(error: Exception) -> str:
    """Returns what is wrong with the command as typed, and which page of help says how it should be."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return ""
    message: str = error.format_message().strip().rstrip(".").replace("Value error, ", "")  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "undertow"
    return f"{message[:1].lower()}{message[1:]}; see `{command} --help`"


def say(text: str) -> None:
    """Prints a line on standard error, so that standard output holds results only."""
    typer.echo(printable(text), err=True)


def show_table(rows: Iterable[Sequence[str]], *head: str) -> None:
    """Prints rows as a table as wide as the terminal, the first column never broken; `head` names the columns."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=SIMPLE if head else None, show_header=bool(head))
    for row in rows:
        # Not as markup, since names may hold square brackets.
        table.add_row(*map(Text, row))
    table.columns[0].no_wrap = True
    Console().print(table)


def show_report(report: str) -> None:
    """Prints a report: laid out on a terminal, as plain markdown into a file or pipe."""
    if not sys.stdout.isatty():
        print(report)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(report))


def show_written(report: str, json: bool, **files: Path) -> None:
    """Prints a report; among JSON lines only where it is: a path for each of `files`, by its name there."""
    if json:
        typer.echo(jsons.dumps({"event": "report", **{name: str(path) for name, path in files.items()}}))
    else:
        show_report(report)


def shown_progress(json: bool) -> Progress:
    """Returns JSON lines if asked for, bars on a terminal, and nothing elsewhere."""
    if json:
        return JsonProgress()
    return BarProgress() if sys.stderr.isatty() else SilentProgress()
