import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from undertow.base import SettingsError
from undertow.runs import plain
from undertow.runs.record import Record


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Kernel:
    radius: int | None
    steps: tuple[int, ...]


def test_everything_a_setting_may_hold_becomes_json():
    value = {
        "kernel": Kernel(None, (1, 21, 41)),
        "fps": Fraction(30000, 1001),
        "path": Path("masks/a.png"),
        "device": torch.device("cpu"),
        "dtype": torch.bfloat16,
        "temperature": np.float32(0.5),
        "frame": np.int64(3),
        "colour": Colour.RED,
        "ids": {3, 1},
        "wide": float("inf"),
        "on": True,
        4: "four",
    }
    expected = {
        "kernel": {"radius": None, "steps": [1, 21, 41]},
        "fps": "30000/1001",
        "path": "masks/a.png",
        "device": "cpu",
        "dtype": "bfloat16",
        "temperature": 0.5,
        "frame": 3,
        "colour": "red",
        "ids": [1, 3],
        "wide": "inf",
        "on": True,
        "4": "four",
    }
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == expected


@Sequence.register
class Rows:
    """What a library may make of its arrays."""


def test_what_has_no_plain_form_is_refused():
    with pytest.raises(SettingsError, match="type Rows cannot be written"):
        plain({"rows": Rows()})
    with pytest.raises(SettingsError, match="type Tensor cannot be written"):
        plain({"weights": torch.zeros(2)})
    with pytest.raises(SettingsError, match="type bytes"):
        plain(b"raw")


def test_cues_that_another_run_lacks_are_told_as_they_were_typed():
    def record(*cues):
        return Record("track", "video", "model", {}, cues, ("scores.csv",))

    first, fifth, eighth = ({"frame": n, "sha256": str(n)} for n in (0, 5, 8))
    both = record({"mask": "a.png"}, first, {"mask": "b.png@5"}, fifth, {"corrected": {"frame": 5}})
    assert both.left_out(record({"mask": "a.png"}, first, {"mask": "c.png@8"}, eighth)) == ["--mask b.png@5"]
    assert both.left_out(record({"mask": "a.png"}, first)) == ["--mask b.png@5"]
    assert record(first, fifth).left_out(record(first)) == ["a cue of frame 5"]
    # Another mask of the same frame is a change, and nothing that was left out.
    assert record({"mask": "a.png"}, first).left_out(record({"mask": "z.png"}, {"frame": 0, "sha256": "z"})) == []
