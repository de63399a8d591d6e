"""Settings classes as options of a command.

Every field of a class of `undertow.base.Options` becomes an option: `softmax_scope` is `--softmax-scope`. Those marked
as expert are left out of the usual help.
"""

from collections.abc import Iterable
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from undertow.base import Option, Options
from undertow.base.options import inner_settings, typeable

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
