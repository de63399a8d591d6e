"""Scores of deliberately damaged masks of real sequences, against figures of a plain evaluation kept in a file."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from undertow.metrics.davis import DatasetSummary, SequenceEvaluator, davis_ids

EXPECTED = json.loads((Path(__file__).parent / "damaged.json").read_text())
FEW = {"swapped": ("camel+car-shadow", "kite-surf+motocross-jump")}
BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "speed"


@pytest.fixture
def make_damaged(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("make_damaged")


@pytest.mark.shared_data
@pytest.mark.parametrize("kind", EXPECTED)
def test_damage_costs_what_it_must(kind: str, make_damaged, shared_data: Path) -> None:
    for name in FEW.get(kind, ("car-shadow", "motocross-jump")):
        truth = make_damaged.read_sequence(shared_data, name)
        evaluator = SequenceEvaluator(davis_ids(next(iter(truth.values()))))
        for time, labels in enumerate(truth.values()):
            evaluator.update(make_damaged.damage(kind, labels, name, time, len(truth)), labels)
        summary = DatasetSummary.of([evaluator.result()])
        found = {
            f"{letter} {figure}": getattr(measure, figure)
            for letter, measure in (("J", summary.region), ("F", summary.contour))
            for figure in ("mean", "recall", "decay")
        }
        assert found == pytest.approx(EXPECTED[kind][name], abs=1e-9)


def test_expected_figures_make_sense() -> None:
    means = {
        kind: [np.mean([row[f"{letter} mean"] for row in rows.values()]) for letter in "JF"]
        for kind, rows in EXPECTED.items()
    }
    assert means["identity"] == [1.0, 1.0]
    assert all(0 < score < 1 for kind, pair in means.items() if kind != "identity" for score in pair)
    # Damage within the tolerance of 8 pixels costs regions more than outlines, single wrong pixels the reverse.
    assert means["eroded"][0] < means["eroded"][1] and means["dilated"][0] < means["dilated"][1]
    assert means["noisy"][1] < means["noisy"][0]
    # Objects that trade ids halfway are right before, and nearly all wrong after.
    assert all(rows["J decay"] > 0.9 for rows in EXPECTED["swapped"].values())
