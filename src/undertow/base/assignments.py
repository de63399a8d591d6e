"""Settings from text: names and values as people type them, such as "topk=5" or "crf.steps=10"."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from undertow.base.errors import SettingsError
from undertow.base.options import Option, Options, options_of

S = TypeVar("S", bound=Any)

_WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}


def assigned(settings: S, assignments: Sequence[str], typed: Mapping[str, Any] | None = None) -> S:
    """Returns settings with some set to other values.

    Args:
        settings: An instance of a class of `Options`.
        assignments: Such as "topk=5", "lost=keep" or "temperature=none"; of settings within settings, "crf.steps=10".
        typed: More of them: values by the names of fields, as text or as they are; `None` is no value.

    Raises:
        SettingsError: If a name is unknown or given twice, or its field does not take the value.
    """
    kind: type = type(settings)
    known = dict(text_options(kind))
    given = {name: value for name, value in (typed or {}).items() if value is not None}
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        name = name.replace("-", "_")
        if not equals:
            raise SettingsError(f"--set is '{assignment}'; give NAME=VALUE, such as --set batch=2")
        if name not in known:
            (near,) = get_close_matches(name, known, 1, 0)
            raise SettingsError(
                f"no setting is called '{name}'; the nearest is '{near}' (`undertow TASK --help-all` lists all)"
            )
        if name in given:
            raise SettingsError(f"{name} is given twice; leave one of them out")
        given[name] = text
    values = {name: parse_value(known[name], each) if isinstance(each, str) else each for name, each in given.items()}
    own = {name: value for name, value in values.items() if "." not in name}
    for each in options_of(kind):
        if inner := inner_settings(each):
            if isinstance(own.get(each.name), bool):
                own[each.name] = inner() if own[each.name] else None
            start = f"{each.name}."
            if within := {name.removeprefix(start): value for name, value in values.items() if name.startswith(start)}:
                begun: Any = own.get(each.name, getattr(settings, each.name)) or inner()
                own[each.name] = replace(begun, **within)
    return replace(settings, **own)


def text_options(settings: type, prefix: str = "") -> Iterator[tuple[str, Option]]:
    """Yields the options that a text can stand for, by name; within settings, the outer name and a dot come first."""
    for each in options_of(settings):
        if typeable(each):
            yield prefix + each.name, each
        if inner := inner_settings(each):
            yield from text_options(inner, f"{prefix}{each.name}.")


def parse_value(option: Option, text: str) -> Any:
    """Returns the value of an option that a text stands for.

    Raises:
        SettingsError: If there is none, or it is out of range.
    """
    if text in option.choices:
        return text
    if inner_settings(option) and text in _WORDS:
        return _WORDS[text]
    if option.optional and text == "none":
        return None
    values = (_read(kind, text) for kind in option.kinds)
    value = next((value for value in values if value is not None), text)
    option.check(value)
    return value


def typeable(option: Option) -> bool:
    """Returns whether there is a text for a value of an option."""
    plain = (bool, int, float, str, Path)
    kinds = (part for kind in option.kinds for part in (get_args(kind) or (kind,)) if part is not ...)
    return (option.optional and inner_settings(option) is not None) or all(kind in plain for kind in kinds)


def inner_settings(option: Option) -> type[Options] | None:
    """Returns the settings class that an option holds an instance of."""
    return next((kind for kind in option.kinds if isinstance(kind, type) and issubclass(kind, Options)), None)


def _read(kind: Any, text: str) -> Any:
    """Returns what a text is as a value of a type; `None` if it is none."""
    if get_origin(kind) is tuple:
        inner, parts = get_args(kind), [part.strip() for part in re.split(r"[,x]", text)]
        kinds = inner[:1] * len(parts) if inner[-1] is ... else inner
        values = [_read(each, part) for each, part in zip(kinds, parts, strict=False)]
        return tuple(values) if len(parts) == len(kinds) and None not in values else None
    if kind is bool:
        return _WORDS.get(text)
    if kind in (str, Path):
        return kind(text)
    try:
        # Longer whole numbers than Python reads are none of anybody's.
        return kind(text) if len(text) < 100 else None
    except ValueError:
        return None
