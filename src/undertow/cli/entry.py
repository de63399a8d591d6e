"""The command line's frame: the application, and how errors end it."""

import sys

import typer

from undertow.base import UndertowError
from undertow.cli.options import log

app = typer.Typer(
    help="Video perception from frozen diffusion models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Runs the command line; errors made on purpose become one sentence and an exit code."""
    try:
        app()
    except UndertowError as error:
        log.print(f"[bold red]error:[/] {_escaped(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        log.print("interrupted; what was finished is kept")
        sys.exit(130)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
