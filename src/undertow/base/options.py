"""Settings that explain and check themselves: help and range of a field stand where the field is defined.

    @dataclass(frozen=True)
    class KnnSettings(Options):
        neighbours: int = option(4, "Neighbours that vote.", least=1)
        weights: Literal["equal", "distance"] = option("equal", "How their votes count.", expert=True)

Commands make their options and their help of such fields, and the values are checked whoever gives them. People type
them as texts such as "topk=5" or "crf.steps=10".
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from undertow.base.errors import SettingsError


def option(
    default: Any,
    help: str,
    *,
    expert: bool = False,
    decides: bool = True,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
) -> Any:
    """Returns a field for a dataclass of `Options`; for its properties see `Option`.

    A default that is a class stands for what that makes without arguments.
    """
    about = {
        "help": help, "expert": expert, "decides": decides, "least": least, "most": most, "above": above,
    }  # fmt: skip
    if isinstance(default, type):
        return field(default_factory=default, metadata=about)
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Option:
    """One field of a dataclass of `Options`.

    Attributes:
        name: The field's name.
        default: Its default.
        kinds: The types it takes, such as (int,) or (tuple[int, int],), besides words and `None`.
        choices: The words it takes.
        optional: Whether it takes `None`.
        help: What it is, in one or two sentences.
        expert: Whether it is left out of the usual help.
        decides: Whether results depend on it by itself; a run may be continued with another value of one that does
            not.
        least: The smallest number it takes; of a tuple, the smallest in it.
        most: The largest number it takes.
        above: What its numbers have to be larger than.
    """

    name: str
    default: Any
    kinds: tuple[Any, ...]
    choices: tuple[str, ...]
    optional: bool
    help: str
    expert: bool = False
    decides: bool = True
    least: float | None = None
    most: float | None = None
    above: float | None = None

    def check(self, value: Any) -> None:
        """Raises SettingsError if the option does not take a value."""
        if (value is None and self.optional) or (isinstance(value, str) and value in self.choices):
            return
        each = value if isinstance(value, tuple) else (value,)
        if not (any(_fits(value, kind) for kind in self.kinds) and all(map(self._inside, each))):
            shown = repr(value) if isinstance(value, str) else value
            raise SettingsError(f"{self.name} is {shown}; {self._wanted()}")

    def _inside(self, value: Any) -> bool:
        if not isinstance(value, Real):
            return True
        number: Any = value
        # So written that NaN is refused too; whole numbers may be larger than any float.
        return (
            (isinstance(number, Integral) or math.isfinite(number))
            and (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
        )

    def _wanted(self) -> str:
        """Returns what to give instead, as the rest of a sentence."""
        if not self.kinds:
            return f"choose {', '.join(self.choices)}"
        return f"give {', or '.join([*map(self._described, self.kinds), *self.choices])}"

    def _described(self, kind: Any) -> str:
        if get_origin(kind) is tuple:
            inner = get_args(kind)
            count = "numbers" if inner[-1] is ... else f"a tuple of {len(inner)} numbers"
            return count if self.least is None else f"{count}, each {self.least} or more"
        if kind not in (int, float):
            return "True or False" if kind is bool else f"a {getattr(kind, '__name__', kind)}"
        noun = "a whole number" if kind is int else "a number"
        if self.above is not None:
            return f"{noun} above {self.above}"
        if self.least is None:
            return noun if self.most is None else f"{self.most} or less"
        return f"{self.least} or more" if self.most is None else f"{noun} from {self.least} to {self.most}"


class Options:
    """Base of frozen dataclasses whose fields are made by `option`; their values are checked when one is made.

    Raises:
        SettingsError: if a value is of another type than its field's, out of range, or a word that is not known.
    """

    def __post_init__(self) -> None:
        settings: Any = type(self)
        for each in options_of(settings):
            each.check(getattr(self, each.name))


@cache
def options_of(settings: type) -> tuple[Option, ...]:
    """Returns the options of a dataclass in the order of its fields."""
    return tuple(_options(settings))


def _options(settings: type) -> Iterator[Option]:
    hints = get_type_hints(settings)
    for each in fields(settings):
        if "help" in each.metadata:
            hint = hints[each.name]
            parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
            kinds = tuple(part for part in parts if part is not NoneType and get_origin(part) is not Literal)
            choices = tuple(word for part in parts if get_origin(part) is Literal for word in get_args(part))
            default = each.default if each.default_factory is MISSING else each.default_factory()
            yield Option(each.name, default, kinds, choices, NoneType in parts, **each.metadata)


def _fits(value: Any, kind: Any) -> bool:
    """Tells whether a value is of a type; a whole number is a float too, but True is no number."""
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if not isinstance(value, tuple):
            return False
        wanted = inner[:1] * len(value) if inner[-1] is ... else inner
        return len(value) == len(wanted) and all(map(_fits, value, wanted))
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, {int: Integral, float: Real}.get(kind, kind))


S = TypeVar("S", bound=Any)

NAMES = "`undertow TASK --help-all` lists those of the task"
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
            near = get_close_matches(name, known, 1)
            hint = f"the nearest is '{near[0]}' (`undertow TASK --help-all` lists all)" if near else NAMES
            raise SettingsError(f"no setting is called '{name}'; {hint}")
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


def parse_flag(name: str, text: str) -> bool:
    """Returns whether a text such as "on" or "no" says yes.

    Raises:
        SettingsError: If it says neither.
    """
    if text not in _WORDS:
        raise SettingsError(f"{name} is '{text}'; give on or off")
    return _WORDS[text]


def typeable(option: Option) -> bool:
    """Returns whether there is a text for a value of an option."""
    plain = (bool, int, float, str, Path)
    kinds = (part for kind in option.kinds for part in (get_args(kind) or (kind,)) if part is not ...)
    return (option.optional and inner_settings(option) is not None) or all(kind in plain for kind in kinds)


def inner_settings(option: Option) -> type[Options] | None:
    """Returns the settings class that an option holds an instance of."""
    return next((kind for kind in option.kinds if isinstance(kind, type) and issubclass(kind, Options)), None)


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
