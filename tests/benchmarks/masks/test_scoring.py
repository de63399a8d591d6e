"""Every preset of rules, through the task, equals the evaluator it stands for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import SettingsError
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.masks.sample import MaskSample
from undertow.masks import VOID, write_label_map
from undertow.metrics import ProposalEvaluator, SequenceEvaluator
from undertow.metrics.davis import MASK_RULES

SIZE, COUNT = (24, 32), 8
TASK = get_task("masks")


def truth_at(step: int) -> np.ndarray:
    """Object 1 from the start, object 2 from frame 3 on; a corner is void."""
    labels = np.zeros(SIZE, np.uint16)
    labels[4:12, 3 + step : 12 + step] = 1
    if step >= 3:
        labels[12:20, 20 - step : 28 - step] = 2
    labels[:2, :2] = VOID
    return labels


def guess_at(step: int) -> np.ndarray:
    """Truth moved by some pixels, the more the later; object 2 is seen a frame early."""
    labels = np.roll(np.where(truth_at(step) == VOID, 0, truth_at(step)), step // 2, axis=1)
    if step == 2:
        labels[20:, :5] = 2
    return labels


@pytest.fixture
def sample(tmp_path: Path) -> MaskSample:
    names = tuple(f"{step:03d}" for step in range(COUNT))
    (tmp_path / "frames").mkdir()
    for step, name in enumerate(names):
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / f"frames/{name}.png")
        write_label_map(tmp_path / f"masks/{name}.png", truth_at(step))
    return MaskSample(
        dataset="made", name="clip", video=tmp_path / "frames", frames=names, size=SIZE, ids=(1, 2), starts={2: 3},
        masks={name: tmp_path / f"masks/{name}.png" for name in names},
    )  # fmt: skip


def outcome_of(sample: MaskSample, rules: str) -> Outcome:
    evaluator = TASK.evaluator(sample, rules)
    for index in range(COUNT):
        guess = guess_at(index)
        evaluator.update(index, (guess > 0).astype(np.uint16) if sample.merged else guess)
    measured = evaluator.result()
    return Outcome(
        method="m", dataset="made", rules=rules, protocol="full", sequence=sample.name, frames=measured.frames,
        series=measured.series, totals=measured.totals, facts=measured.facts,
    )  # fmt: skip


@pytest.mark.parametrize("rules", list(MASK_RULES))
def test_rules_are_those_of_the_evaluator(sample: MaskSample, rules: str) -> None:
    if rules == "davis-2016":
        sample = replace(sample, merged=True, ids=(1,), starts={})
    outcome = outcome_of(sample, rules)
    proposals = MASK_RULES[rules].proposals is not None
    evaluator = (ProposalEvaluator if proposals else SequenceEvaluator)(sample.ids, MASK_RULES[rules])
    for index in range(COUNT):
        guess = guess_at(index)
        evaluator.update((guess > 0).astype(np.uint16) if sample.merged else guess, sample.load_mask(index))
    expected = evaluator.result()
    assert {int(number) for number in outcome.series} == set(expected)
    for number, scores in expected.items():
        found = outcome.objects[number]
        np.testing.assert_array_equal(found.region, scores.region)
        np.testing.assert_array_equal(found.contour, scores.contour)
        assert len(scores.region) > 0 and scores.region.min() < 1
    lengths = {len(values) for scores in outcome.series.values() for values in scores.values()}
    assert lengths == {len(outcome.frames)}


def test_which_frames_count(sample: MaskSample) -> None:
    asked = {rules: list(TASK.asked(sample, rules)) for rules in MASK_RULES}
    middle = [1, 2, 3, 4, 5, 6]
    assert asked == {
        "davis-2017": middle, "davis-2016": middle, "long-videos": middle, "late": middle, "once-seen": middle,
        "davis-unsupervised": [0, *middle, 7], "youtube-vos": [*middle, 7],
    }  # fmt: skip
    assert list(TASK.asked(sample, "davis-2017", range(0, COUNT, 3))) == [3]


def test_means_over_sequences_and_over_objects(sample: MaskSample) -> None:
    alone = replace(sample, name="alone", ids=(1,), starts={})
    outcomes = [outcome_of(each, "davis-2017") for each in (sample, alone)]
    figures = TASK.summarise(outcomes)
    scores = [np.mean(objects.combined) for outcome in outcomes for objects in outcome.objects.values()]
    assert figures["J&F"] == pytest.approx(np.mean(scores)) and tuple(figures) == TASK.measures
    by_sequence = TASK.summarise([replace(outcome, rules="davis-2016") for outcome in outcomes])
    assert by_sequence["J&F"] == pytest.approx(np.mean([np.mean(scores[:2]), scores[2]]))
    assert by_sequence["J&F"] != pytest.approx(figures["J&F"])


def test_protocols_that_show_too_little(sample: MaskSample) -> None:
    for rules, needs in (
        ("davis-2017", "shows 2 annotated frames of 'clip'; scoring needs 3, as the first and the last do not count"),
        ("late", "scoring needs 3"),
    ):
        with pytest.raises(SettingsError, match=needs):
            TASK.check_shown(sample, rules, [0, 3], "lab")
    TASK.check_shown(sample, "youtube-vos", [0, 3], "lab")
    with pytest.raises(SettingsError, match="shows 1 annotated frames of 'clip'; scoring needs 2, as the first does"):
        TASK.check_shown(sample, "youtube-vos", [0], "lab")
