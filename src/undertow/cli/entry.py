"""The command line's frame: the list of the commands, and how they end."""

import logging
import os
import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from undertow import __version__
from undertow.base import printable
from undertow.cli.showing import INTERRUPTED, explain, say
from undertow.tasks import TASKS

# The commands in the order in which `undertow --help` lists them, and what it says of each.
COMMANDS = {
    "track": "Track objects given by masks, boxes, points or words.",
    "points": "Follow points through a video, in both directions.",
    "parse": "Give every pixel of a video a class.",
    "refer": "Find what a sentence names and track it.",
    "batch": "Run a task on every clip of a table.",
    "app": "Click, track, correct and export in a page on this machine.",
    "export": "Write a finished run in another tool's format.",
    "estimate": "Predict the time, memory and disk of a run.",
    "demo": "Track two look-alike objects that cross, and score the result.",
    "inspect": "Show where one pixel looks in another frame.",
    "models": "List the models undertow knows, and fetch their weights.",
    "doctor": "Check this machine: versions, device, memory, codecs, weights.",
    "bench": "Measure methods on annotated videos.",
    "analyze": "Find the layer and timestep of a model that carry motion.",
    "generate": "Sample a clip, or a picture, that shows a text.",
    "train": "Train the embedded models.",
}
# Modules that are not called like their command; `app` is what the package calls the command line itself.
_MODULES = {"app": "app_command", "demo": "explore", "inspect": "explore", "analyze": "explore", "bench": "bench_many"}
# `--debug`; errors are shown after the command has ended.
_shown = {"traceback": False}


class LazyGroup(TyperGroup):
    """A group whose commands are names and lines of help until one is run: most of them need torch in the end."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name in self.names():
            self.add_command(TyperCommand(name, help=COMMANDS[name]))

    def names(self) -> Iterable[str]:
        """Returns the names of the commands."""
        return COMMANDS

    def load(self, name: str) -> Any:
        """Returns the command, group or function called `name`."""
        if name == "estimate":
            return typer.Typer(cls=EstimateGroup, help=COMMANDS[name], callback=lambda: None, no_args_is_help=True)
        if name in TASKS:
            return task_of(name)
        return getattr(import_module(f"undertow.cli.{_MODULES.get(name, name)}"), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Returns the name, the command and the rest of the arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, None if command is None else _made(str(name), self.load(str(name))), rest


class EstimateGroup(LazyGroup):
    """The commands of tasks, and training, once more, to say what they would take."""

    def names(self) -> Iterable[str]:
        """Returns the names of the tasks, and `train`."""
        return *TASKS, "train"

    def load(self, name: str) -> Any:
        """Returns the command of a task, or the group of those of training."""
        if name == "train":
            return import_module("undertow.cli.train").estimate_train
        return task_of(name, only_estimate=True)


def task_of(name: str, *, only_estimate: bool = False) -> typer.Typer:
    """Returns the command of a task."""
    from undertow.cli.task_command import task_command

    return task_command(TASKS[name], COMMANDS[name], only_estimate=only_estimate)


def _made(name: str, found: Any) -> Any:
    """Returns what typer makes of a function or of a group, under a name."""
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False)
        found.command(name)(function)
    found.rich_markup_mode, found._add_completion = None, False
    command = typer.main.get_command(found)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"undertow {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="UNDERTOW_DEBUG", help="Show where in the program an error comes from.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Video perception from frozen diffusion models."""
    _shown["traceback"] = debug


class _Shown(logging.Handler):
    """Says on standard error what undertow logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one line."""
        say(record.getMessage())


def main() -> None:
    """Runs the command line; every error becomes one sentence and an exit code, with a traceback only on request."""
    spoken = logging.getLogger("undertow")
    if not spoken.handlers:
        spoken.addHandler(_Shown())
        spoken.setLevel(logging.INFO)
    # Until the options are read, only the environment can ask.
    _shown["traceback"] = os.environ.get("UNDERTOW_DEBUG", "") not in ("", "0")
    try:
        code = app(standalone_mode=False, prog_name="undertow") or 0
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        code, sentence = explain(error)
        if _shown["traceback"]:
            traceback.print_exception(error)
        if sentence:
            typer.echo(f"{typer.style('error:', fg='red', bold=True)} {printable(sentence)}", err=True)
    if code == INTERRUPTED:
        say("interrupted; finished work is kept")
    if code:
        sys.exit(code)
