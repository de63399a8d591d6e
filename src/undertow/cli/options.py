"""The options of commands: those that several share, how their text is read, and settings classes as options.

Every field of a class of `undertow.base.Options` becomes an option: `softmax_scope` is `--softmax-scope`. The usual
help is one screen of what is used every day; `--help-all` shows what is marked as expert too.
"""

import os
import re
from collections.abc import Iterable, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer
from typer.core import TyperCommand

from undertow.base import Option, Options, SettingsError
from undertow.base.options import inner_settings, listed, typeable

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
    typer.Option(help="Whether a lost object gets no pixels or the best guess; by default as on the card."),
]


def numbers(option: str, text: str, wanted: str, least: int = 0, most: int = 10**9 - 1) -> list[int]:
    """Returns the whole numbers between the commas of an option's text.

    Args:
        option: Its name.
        text: What was typed.
        wanted: What is wanted, with an example, for the error.
        least: The least of them.
        most: The largest.

    Raises:
        SettingsError: if something else stands there.
    """
    parts = listed(text)
    if not all(re.fullmatch(r"[0-9]{1,9}", part) and least <= int(part) <= most for part in parts):
        raise SettingsError(f"{option} is '{text}'; give {wanted}")
    return [int(part) for part in parts]


def check_free(out: Path, first: str, others: Sequence[str], what: str, *, overwrite: bool) -> None:
    """Raises SettingsError if results cannot be written into a folder, or would replace files there unasked.

    That is found out before anything is computed, not when all is done.

    Args:
        out: The folder.
        first: The file by which an earlier result is known.
        others: More files that will be written; without the first they may be anyone's.
        what: An earlier result is called.
        overwrite: Whether files may be replaced.
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


_METAVARS = {int: "N", float: "X", Path: "PATH"}


def parameters(options: Iterable[Option], section: str) -> list[Parameter]:
    """Returns parameters of a command, under a title of its help, for those options that a text can stand for."""
    return [_parameter(each, section) for each in options if typeable(each)]


def _parameter(option: Option, section: str) -> Parameter:
    name = option.name.replace("_", "-")
    flag = option.kinds == (bool,) or inner_settings(option) is not None
    about: dict[str, Any] = {"help": described(option), "hidden": option.expert, "rich_help_panel": section}
    if flag:
        negative = "" if option.default is False else f"/--no-{name}"
        declared = typer.Option(f"--{name}{negative}", show_default=False, **about)
    else:
        words = [*option.choices, *(_metavar(kind) for kind in option.kinds)]
        about["autocompletion"] = lambda incomplete: [word for word in option.choices if word.startswith(incomplete)]
        declared = typer.Option(f"--{name}", metavar="|".join(words), show_default=False, **about)
    kind: Any = bool if flag else str
    return Parameter(option.name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, declared])


def described(option: Option) -> str:
    """Returns the help of an option with its default, where that is a value that can be typed."""
    default = option.default
    if default is None or isinstance(default, bool | Options):
        return option.help
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{option.help}  [default: {shown}]"


def _metavar(kind: Any) -> str:
    inner = get_args(kind)
    if not inner:
        return _METAVARS.get(kind, "NAME")
    return f"{_METAVARS[inner[0]]},..." if inner[-1] is ... else ",".join(_METAVARS[each] for each in inner)


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
