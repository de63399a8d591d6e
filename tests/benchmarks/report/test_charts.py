import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import SettingsError
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.report import charts
from undertow.benchmarks.report.charts import mean_curve
from undertow.benchmarks.report.writing import markdown_report, write_plots


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


def test_nothing_is_drawn_before_objects_come() -> None:
    late = outcome("a", "x", [np.nan, np.nan, 0.4, 0.6, 0.8])
    curve = mean_curve([late])
    assert np.isnan(curve[:50]).all() and curve[50] == pytest.approx(0.4)
    assert mean_curve([late, outcome("a", "y", [0.2, 0.2])])[0] == pytest.approx(0.2)
    assert np.isnan(mean_curve([outcome("a", "x", [np.nan, np.nan])])).all()


def test_scores_of_every_fifth_frame_are_joined_and_gaps_are_not() -> None:
    sparse = [value for score in (0.5, 0.6, 0.7) for value in (score, np.nan, np.nan)]
    gap = [0.5, 0.6, np.nan, np.nan, 0.7, 0.8]
    figure = charts.draw_sequences([outcome("a", "sparse", sparse), outcome("a", "gap", gap)])
    first, second = (axes.lines[0].get_ydata() for axes in figure.axes)
    assert first == pytest.approx([50, 60, 70])
    assert np.isnan(second).tolist() == [False, False, True, True, False, False]


def test_long_names_are_shortened_and_legends_are_not_cut_off() -> None:
    long = "a-model-of-mine-with-every-setting-in-its-name-" * 2
    outcomes = [outcome(method, f"{long}{number}", [0.5, 0.6]) for method in (long, "b", "c") for number in range(2)]
    for draw in (charts.draw_bars, charts.draw_over_time, charts.draw_sequences):
        figure = draw(outcomes)
        figure.canvas.draw()
        box = figure.legends[0].get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    labels = [label.get_text() for label in charts.draw_bars(outcomes).axes[0].get_yticklabels()]
    assert all(len(label) == 40 for label in labels) and labels[0][-1] == "0" and labels[1][-1] == "1"


def test_figures_of_one_sample_bear_the_name_of_what_they_are() -> None:
    rules = {"dataset": "youtube-vos-2018", "rules": "youtube-vos", "protocol": "full"}
    series = {"1": {"J": np.full(3, 0.5), "F": np.full(3, 0.7)}}
    one = Outcome(method="a", sequence="x", frames=("0", "1", "2"), series=series, **rules)
    text = markdown_report([one])
    # G needs categories of both kinds, which one video seldom has.
    assert "J&F by sequence" in text and "| x        | 60.0 |" in text


def test_results_that_were_missing_are_told() -> None:
    facts = {"dataset": "mevis", "rules": "expressions", "protocol": "full", "task": "refer"}
    series = {"expression": {"J": np.zeros(2), "F": np.zeros(2)}}
    outcomes = [
        Outcome(method="a", sequence=name, frames=("0", "1"), series=series, facts={"missing": 2}, **facts)
        for name in ("x/0", "x/1")
    ]
    assert "Of a, 4 results are missing and count as 0." in markdown_report(outcomes)


def test_bad_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="no outcomes"):
        write_plots([], tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SettingsError, match=r"pip install 'undertow\[bench\]'"):
        write_plots([outcome("a", "x", [0.5, 0.6])], tmp_path)
