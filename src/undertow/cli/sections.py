"""Help in sections: one screen of what is used every day, and with --help-all everything."""

import re
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

# A sentence or clause, what follows it, and the default.
_CLAUSE = re.compile(r"(?P<clause>.*?)[.;](?: .*?)??(?P<default>  \[default: .*\])?")


class SectionedCommand(TyperCommand):
    """A command whose options stand under the titles of their panels, those without one under "Run".

    The usual help leaves out what is marked as hidden, and shows the first clause about the rest.
    """

    full = False
    within: Sequence[tuple[str, str]] = ()
    """What `--set` reaches within settings, for the whole help."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the sections in the order in which their first options come."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for each in self.get_params(ctx):
            if self.full:
                each.hidden = False  # type: ignore[attr-defined]
            if record := each.get_help_record(ctx):
                name, text = record[0].removesuffix(" <str>"), record[1]
                title = getattr(each, "rich_help_panel", None) or "Run"
                sections.setdefault(title, []).append((name, text if self.full else first_clause(text)))
        if self.full and self.within:
            sections["Within settings"] = [*self.within]
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows, col_max=36)


def show_all(context: typer.Context, wanted: bool) -> None:
    """Shows the whole help of a command; the callback of `--help-all`."""
    if wanted:
        context.command.full = True  # type: ignore[attr-defined]
        typer.echo(context.get_help())
        raise typer.Exit


def first_clause(text: str) -> str:
    """Returns a help text up to the first full stop or semicolon, with the default that it ends with."""
    match = _CLAUSE.fullmatch(text)
    return text if match is None else f"{match['clause']}.{match['default'] or ''}"
