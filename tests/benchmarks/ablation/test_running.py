"""Ablations end to end on a small dataset: measured once, shown in tables and charts, and never again."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from undertow.backbones import get_card
from undertow.base import SettingsError
from undertow.benchmarks.ablation import running
from undertow.benchmarks.ablation.figures import draw, embed
from undertow.benchmarks.ablation.methods import variant_method
from undertow.benchmarks.ablation.running import AblationSettings
from undertow.benchmarks.ablation.tables import Row
from undertow.benchmarks.ablation.variants import Scale, Variant, make_ablations
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.outcomes import by_method, read_outcomes
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import EvaluationProtocol
from undertow.benchmarks.masks.methods import model_method
from undertow.tracking import TrackSettings
from undertow.training.segmenter_network import SegmenterShape, build_segmenter

BRIEF = EvaluationProtocol("brief", stride=2, tokens=60)


@pytest.fixture
def segmenter(tmp_path):
    """A random promptable segmenter in the class of the published ones."""
    shape = SegmenterShape(64, patch_size=8, width=16, layers=2, heads=2, everywhere=(1,), window=4, channels=16)
    build_segmenter(0, shape).save_pretrained(tmp_path / "random-sam")
    return str(tmp_path / "random-sam")


def scores(outcome):
    return {(unit, name): values.tolist() for unit, each in outcome.series.items() for name, values in each.items()}


@pytest.mark.slow
def test_tables_charts_and_a_second_run_that_measures_nothing(folders, tmp_path, segmenter, monkeypatch):
    samples, out = open_dataset("davis", folders), tmp_path / "out"
    scale = Scale(timesteps=(1, 41), points=(1,), prompts=(1, 3), tuning_steps=1)
    only = ("refiners", "attention", "prompts", "conditioning", "embeddings", "models")
    settings = AblationSettings(only=only, protocol=BRIEF, scale=scale, segmenter=segmenter)
    report = running.run_ablations(samples, out, settings)
    for words in ("table 7", "figure 3", "figure 7", "table 1", "PAC-CRF", "81.3", "needs weights of sd-1.5",
                  "needs a class of each object", "learned, paper, 1 steps", "self-attention"):  # fmt: skip
        assert words in report
    assert (out / "ablation.md").read_text() == report
    for name in ("refiners", "attention", "prompts", "conditioning", "embeddings"):
        assert f"![{name}]({name}.png)" in report and np.asarray(Image.open(out / f"{name}.png")).std() > 5
    with (out / "refiners.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["variant"] for row in rows] == ["default", "guided", "crf", "sam", "", "", ""]
    assert float(rows[0]["difference"]) == 0 and all(row["sequences"] == "2" for row in rows[:4])
    assert rows[-1]["J&F"] == "81.3" and "SD 2.1" in rows[-1]["source"]

    monkeypatch.setattr(
        running, "variant_method", lambda *a, **k: replace(variant_method(*a, **k), make_predictor=None)
    )
    assert running.run_ablations(samples, out, settings) == report
    monkeypatch.setattr(running, "run_benchmark", None)
    assert running.run_ablations(samples, out, replace(settings, tables_only=True)) == report

    # Each variant is what it says: the same as the runner's own methods, or differing from the default as it should.
    found = by_method(read_outcomes(out))
    plain = run_benchmark(samples, [model_method("tiny")], tmp_path / "plain", BRIEF)
    assert [scores(each) for each in plain] == [scores(each) for each in found["default"].values()]
    alone = TrackSettings(recent=0, lost="keep")
    wanted = run_benchmark(samples, [model_method("tiny", "dift", alone)], tmp_path / "alone", BRIEF)
    assert [scores(each) for each in wanted] == [scores(each) for each in found["alone-cosine"].values()]


def test_time_is_told_and_kept(folders, tmp_path, monkeypatch):
    samples = open_dataset("davis", folders)
    settings = AblationSettings(only=("table5",), protocol=BRIEF, scale=Scale(tuning_steps=1), segmenter="sam-vit-h")
    monkeypatch.setattr(running, "segmenter_at_hand", lambda name: False)
    cheap = ("default", "text-null", "learned-fast-1")
    every = running.make_ablations

    def few(card, scale):
        ablations = every(card, scale)
        runtime = ablations["runtime"]
        kept = tuple(each for each in runtime.variants if each.name in (*cheap, "sam"))
        return ablations | {"runtime": replace(runtime, variants=kept)}

    monkeypatch.setattr(running, "make_ablations", few)
    report = running.run_ablations(samples, tmp_path, settings)
    assert "needs weights of sam-vit-h" in report and "+141.4" in report and "![runtime](runtime.png)" in report
    seconds = {name: each for name, (each, _) in running._read_seconds(tmp_path).items()}
    assert set(seconds) == set(cheap) and all(each.cpu > 0 and each.wall > 0 for each in seconds.values())
    monkeypatch.setattr(running, "time_method", None)
    assert running.run_ablations(samples, tmp_path, settings) == report


def test_other_tasks_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="mask tracking is what is ablated"):
        running.run_ablations([], tmp_path)


def test_a_method_knows_its_settings_apart():
    one, other = Variant("a", "a"), Variant("a", "a", TrackSettings(recent=3))
    assert variant_method("tiny", one).settings != variant_method("tiny", other).settings
    assert variant_method("tiny", one).settings == variant_method("tiny", replace(one, title="b")).settings


def test_conditionings_that_are_alike_lie_together():
    random = np.random.default_rng(0)
    centres = 20 * random.normal(size=(2, 1, 12))
    groups = {name: centre + random.normal(size=(9, 12)) for name, centre in zip("ab", centres, strict=True)}
    places = embed(groups)
    within = max(np.linalg.norm(each - each.mean(0), axis=1).max() for each in places.values())
    assert np.linalg.norm(places["a"].mean(0) - places["b"].mean(0)) > within
    with pytest.raises(SettingsError, match="too few"):
        embed({"a": groups["a"][:3]})


def test_points_of_one_curve_are_of_the_same_sequences():
    ablation = make_ablations(get_card("tiny"), Scale(timesteps=(1, 41, 81)))["noising"]
    clean = [each for each in ablation.variants if each.title == "clean latents"]
    rows = [Row(each, 0.5 + place / 100, sequences=4) for place, each in enumerate(clean[:2])]
    figure = draw(ablation, [*rows, Row(clean[2], 0.9, sequences=1)], {})
    (line, *_) = figure.axes[0].get_lines()
    assert line.get_ydata().tolist() == [50, 51]
    assert draw(ablation, [Row(clean[0], note="needs weights of sd-2.1")], {}) is None
