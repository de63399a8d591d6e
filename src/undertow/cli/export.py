"""`undertow export`: a finished run in another tool's format."""

from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from undertow.base import SettingsError, options_of
from undertow.base.options import assigned
from undertow.cli.options import SectionedCommand, parameters
from undertow.cli.showing import say, shown_progress
from undertow.export import FORMATS, ExportSettings
from undertow.export import export as write

_HELP = "Write a finished run in another tool's format.\n\nRepeat the command to resume after an interruption."


def _option(name: str, kind: Any, help: str, metavar: str | None = None, default: Any = None) -> Parameter:
    declared = typer.Option(f"--{name}", help=help, metavar=metavar, rich_help_panel="Export")
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared])


def _export(run: Path, to: str | None, out: Path | None, check: bool, json: bool, **typed: Any) -> None:
    if to is None or out is None:
        raise SettingsError(f"missing option '{'--to' if to is None else '--out'}'; give --to FORMAT and --out FOLDER")
    settings = assigned(ExportSettings(), [], typed)
    with shown_progress(json) as progress:
        done = write(run, to, out, settings, check=check, progress=progress)
    say(done.said(out))


_RUN = Annotated[Path, typer.Argument(help="Folder of the run.", rich_help_panel="Export")]
# Built like the commands of tasks, of what the settings say of themselves.
_export.__signature__ = Signature(  # type: ignore[attr-defined]
    [
        Parameter("run", Parameter.KEYWORD_ONLY, annotation=_RUN),
        _option("to", str | None, f"Format: {', '.join(FORMATS)}.", "FORMAT"),
        _option("out", Path | None, "Folder to make.", "FOLDER"),
        *parameters(options_of(ExportSettings), "Export"),
        _option("check", bool, "Read the files back and compare.", default=False),
        _option("json", bool, "Print events as JSON lines.", default=False),
    ]
)
export = typer.Typer(add_completion=False)
export.command("export", cls=SectionedCommand, help=_HELP)(_export)
