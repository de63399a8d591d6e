"""How commands show what they did: lines, tables, reports and progress."""

import sys
from collections.abc import Iterable, Sequence

import typer

from undertow.base import BarProgress, JsonProgress, Progress, SilentProgress
from undertow.cli.errors import printable


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


def shown_progress(json: bool) -> Progress:
    """Returns JSON lines if asked for, bars on a terminal, and nothing elsewhere."""
    if json:
        return JsonProgress()
    return BarProgress() if sys.stderr.isatty() else SilentProgress()
