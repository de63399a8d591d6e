import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import SettingsError
from undertow.benchmarks import Outcome, mean_curve, write_plots


def outcome(method: str, sequence: str, values: list[float]) -> Outcome:
    return made(method, sequence, {"1": {"J": np.array(values), "F": np.array(values)}})


def made(method: str, sequence: str, series: dict) -> Outcome:
    frames = tuple(map(str, range(len(series["1"]["J"]))))
    facts = {"dataset": "davis-2017", "rules": "davis-2017", "protocol": "full"}
    return Outcome(method=method, sequence=sequence, frames=frames, series=series, **facts)


def test_mean_curve_stretches_every_sequence_to_the_same_time() -> None:
    short, long = outcome("a", "x", [1.0, 0.0]), outcome("a", "y", [0.5] * 9)
    curve = mean_curve([short, long])
    assert len(curve) == 101
    assert (curve[0], curve[50], curve[100]) == pytest.approx((0.75, 0.5, 0.25))


def test_objects_of_a_sequence_are_averaged() -> None:
    two = made("a", "x", {"1": {"J": np.ones(3), "F": np.ones(3)}, "2": {"J": np.zeros(3), "F": np.ones(3)}})
    assert mean_curve([two]) == pytest.approx(np.full(101, 0.75))


def test_plots_show_one_colour_per_method_at_its_height(tmp_path: Path) -> None:
    outcomes = [outcome(m, s, [v] * 5) for m, v in [("high", 0.9), ("low", 0.2)] for s in ("x", "y", "z")]
    mean, grid = write_plots(outcomes, tmp_path)
    pixels = np.asarray(Image.open(mean).convert("RGB")).astype(int)
    rows = {}
    for name, colour in [("high", (0x00, 0x72, 0xB2)), ("low", (0xD5, 0x5E, 0x00))]:
        drawn = np.abs(pixels[:, : pixels.shape[1] // 2] - colour).sum(-1) < 6
        assert drawn.sum() > 200
        rows[name] = np.nonzero(drawn)[0].mean()
    assert rows["high"] < rows["low"]
    with Image.open(grid) as picture:
        assert picture.width > picture.height


def test_many_methods_one_frame_and_missing_sequences(tmp_path: Path) -> None:
    outcomes = [outcome(f"m{number}", "x", [0.5, 0.6]) for number in range(9)] + [outcome("m0", "y", [0.3])]
    assert all(path.stat().st_size > 1000 for path in write_plots(outcomes, tmp_path))


def test_bad_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="no outcomes"):
        write_plots([], tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SettingsError, match=r"pip install 'undertow\[bench\]'"):
        write_plots([outcome("a", "x", [0.5, 0.6])], tmp_path)
