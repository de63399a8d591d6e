from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from undertow.base import Options, SettingsError, option, options_of


@dataclass(frozen=True)
class Inner:
    depth: int = 2


@dataclass(frozen=True)
class Base(Options):
    tokens: int | None = option(None, "How many.", least=16)
    scale: float = option(1.0, "How large.", expert=True, above=0)
    share: float = option(0.5, "How much.", least=0, most=1)


@dataclass(frozen=True)
class Wider(Base):
    share: float = option(0.25, "How much here.", least=0, most=1)
    kind: Literal["one", "two"] | None = option(None, "Which.")
    count: int | Literal["auto"] = option("auto", "How many of them.", least=1)
    flag: bool = option(True, "Whether.")
    size: tuple[int, int] | None = option(None, "Width and height.", least=16)
    heads: tuple[int, ...] = option((0,), "Which heads.", least=0)
    inner: Inner = option(Inner, "More.")


def test_options_describe_the_fields():
    found = {each.name: each for each in options_of(Wider)}
    assert list(found) == ["tokens", "scale", "share", "kind", "count", "flag", "size", "heads", "inner"]
    assert found["share"].default == 0.25 and found["share"].help == "How much here."
    assert found["kind"].choices == ("one", "two") and found["kind"].optional and not found["kind"].kinds
    assert found["count"].kinds == (int,) and found["count"].choices == ("auto",) and not found["count"].optional
    assert found["scale"].expert and not found["tokens"].expert
    assert found["inner"].default == Inner()


def test_values_that_fit_are_taken():
    every = Wider(tokens=10**400, scale=3, kind="two", count=np.int64(4), flag=False, size=(64, 48), heads=(0, 3, 1))
    assert every.tokens == 10**400 and every.inner == Inner()
    assert Wider(heads=()).heads == ()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"tokens": 15}, "tokens is 15; give 16 or more"),
        ({"tokens": "many"}, "tokens is 'many'; give 16 or more"),
        ({"tokens": True}, "tokens is True; give 16 or more"),
        ({"tokens": 16.5}, "tokens is 16.5; give 16 or more"),
        ({"scale": 0.0}, "scale is 0.0; give a number above 0"),
        ({"scale": float("nan")}, "scale is nan; give a number above 0"),
        ({"scale": float("inf")}, "scale is inf; give a number above 0"),
        ({"scale": None}, "scale is None; give a number above 0"),
        ({"share": 1.5}, "share is 1.5; give a number from 0 to 1"),
        ({"kind": "three"}, "kind is 'three'; choose one, two"),
        ({"count": 0}, "count is 0; give 1 or more, or auto"),
        ({"flag": 1}, "flag is 1; give True or False"),
        ({"size": (64, 8)}, r"size is \(64, 8\); give a tuple of 2 numbers, each 16 or more"),
        ({"size": (64, 48, 32)}, "a tuple of 2 numbers"),
        ({"heads": (0, -1)}, r"heads is \(0, -1\); give numbers, each 0 or more"),
        ({"inner": 3}, "inner is 3; give an? Inner"),
    ],
)
def test_values_that_do_not_fit_are_refused(value, sentence):
    with pytest.raises(SettingsError, match=sentence):
        Wider(**value)
