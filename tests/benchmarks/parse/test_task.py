from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import MaskError, SettingsError
from undertow.benchmarks.core.outcomes import Outcome, read_outcome
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.parse.sample import LabelCoding, SemanticSample, read_values, write_values
from undertow.masks import VOID
from undertow.metrics.confusion import ConfusionMatrix
from undertow.metrics.consistency import ConsistencyEvaluator

SIZE = (8, 10)
TASK = get_task("parse")


def classes_at(step: int) -> np.ndarray:
    """Three classes: 0 on the left, 1 moving into it, 2 below; one column is void."""
    labels = np.zeros(SIZE, np.uint8)
    labels[:, 5 + step // 4 :] = 1
    labels[5:] = 2
    labels[:, 9] = 7
    return labels


def make_sample(folder: Path, count: int, anchors: tuple[int, ...] = (0,), name: str = "street") -> SemanticSample:
    names = tuple(f"{step:03d}" for step in range(count))
    for step, frame in enumerate(names):
        for kind, pixels in (("frames", np.full((*SIZE, 3), step, np.uint8)), ("labels", classes_at(step))):
            (folder / name / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name / kind / f"{frame}.png")
    return SemanticSample(
        dataset="made", name=name, video=folder / name / "frames", frames=names, size=SIZE, anchors=anchors,
        labels={frame: folder / name / "labels" / f"{frame}.png" for frame in names},
        classes=("road", "tree", "car"), coding=LabelCoding(values=(0, 1, 2), void=(7,)),
    )  # fmt: skip


def outcome_of(sample: SemanticSample, rules: str, predictions: Sequence[np.ndarray]) -> Outcome:
    evaluator = TASK.evaluator(sample, rules)
    for index, prediction in enumerate(predictions):
        evaluator.update(index, prediction)
    measured = evaluator.result()
    return Outcome(
        method="m", dataset=sample.dataset, task="parse", rules=rules, protocol="full", sequence=sample.name,
        frames=measured.frames, series=measured.series, totals=measured.totals, facts=measured.facts,
    )  # fmt: skip


def guesses(count: int, seed: int = 0) -> list[np.ndarray]:
    """Maps that are right in part, with some pixels of no class."""
    random = np.random.default_rng(seed)
    found = []
    for step in range(count):
        labels = classes_at(step).astype(np.uint16)
        wrong = random.random(SIZE) < 0.2
        labels[wrong] = random.choice([0, 1, 2, VOID], wrong.sum())
        labels[labels == 7] = 1
        found.append(labels)
    return found


def test_all_frames_are_scored_as_published(tmp_path: Path) -> None:
    sample, predictions = make_sample(tmp_path, 12), guesses(12)
    figures = TASK.summarise([outcome_of(sample, "all-frames", predictions)])
    matrix, official = ConfusionMatrix(3), ConsistencyEvaluator((8, 16))
    strict = ConsistencyEvaluator((8, 16), "strict", (VOID,))
    for index, prediction in enumerate(predictions):
        truth = sample.load_labels(index)
        matrix.update(prediction, truth)
        official.update(prediction, truth)
        strict.update(prediction, truth)
    assert figures["mIoU"] == matrix.scores().mean_iou() > 0.5
    assert figures["pixel accuracy"] == matrix.scores().pixel_accuracy
    assert figures["mVC8"] == official.result().mean(8) and figures["mVC8 strict"] == strict.result().mean(8)
    # There is no window of 16 frames.
    assert np.isnan(figures["mVC16"]) and np.isnan(figures["mVC16 strict"])
    assert tuple(figures) == TASK.measures


def test_anchors_are_left_out(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 12, anchors=(0, 5))
    # Wrong where the truth was given, right everywhere else.
    predictions = [classes_at(step).astype(np.uint16) for step in range(12)]
    predictions[0], predictions[5] = np.zeros(SIZE, np.uint16), np.zeros(SIZE, np.uint16)
    assert TASK.asked(sample, "anchor-excluded") == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    outcome = outcome_of(sample, "anchor-excluded", predictions)
    figures = TASK.summarise([outcome])
    assert figures["mIoU"] == 1 and len(outcome.frames) == 10
    # No window of 8 frames is without an anchor.
    assert np.isnan(figures["mVC8"])
    assert TASK.summarise([outcome_of(sample, "all-frames", predictions)])["mIoU"] < 1


def test_a_split_is_pooled_before_dividing(tmp_path: Path) -> None:
    long, short = make_sample(tmp_path, 11), make_sample(tmp_path, 3, name="short")
    outcomes = [outcome_of(long, "all-frames", guesses(11)), outcome_of(short, "all-frames", guesses(3, seed=1))]
    matrix = ConfusionMatrix(3)
    for sample, predictions in ((long, guesses(11)), (short, guesses(3, seed=1))):
        for index, prediction in enumerate(predictions):
            matrix.update(prediction, sample.load_labels(index))
    figures = TASK.summarise(outcomes)
    assert figures["mIoU"] == matrix.scores().mean_iou()
    assert figures["mIoU"] != np.mean([TASK.headline(outcome) for outcome in outcomes])
    apart = [replace(outcome, facts=dict(outcome.facts) | {"pooled": False}) for outcome in outcomes]
    assert TASK.summarise(apart)["mIoU"] == pytest.approx(np.mean([TASK.headline(outcome) for outcome in outcomes]))
    other = replace(outcomes[1], facts=dict(outcomes[1].facts) | {"classes": ["road", "tree"]})
    with pytest.raises(SettingsError, match="different classes and cannot share a table"):
        TASK.summarise([outcomes[0], other])


def test_outcomes_come_back_from_their_files(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 11)
    outcome = outcome_of(sample, "all-frames", guesses(11))
    outcome.write(tmp_path / "out")
    again = read_outcome(tmp_path / "out/m/street.json")
    assert TASK.summarise([again]) == pytest.approx(TASK.summarise([outcome]), nan_ok=True)


def test_series_are_the_classes_of_each_frame(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 3)
    truth = [classes_at(step).astype(np.uint16) for step in range(3)]
    truth[1][truth[1] == 2] = 0
    series = outcome_of(sample, "all-frames", truth).series
    assert list(series) == ["road", "tree", "car"]
    np.testing.assert_allclose(series["car"]["IoU"], [1, 0, 1])
    # 25 pixels of road, and 27 of cars taken for it.
    np.testing.assert_allclose(series["road"]["IoU"], [1, 25 / 52, 1])


@pytest.mark.parametrize(
    ("rules", "renamed_score"),
    [("anchor-majority", 1 / 3), ("hungarian-per-video", 1), ("majority-per-video", 1), ("hungarian-per-frame", 1)],
)
def test_clusters_are_matched_with_classes(tmp_path: Path, rules: str, renamed_score: float) -> None:
    sample = make_sample(tmp_path, 10)
    names = np.array([4, 0, 9, 0, 0, 0, 0, 9], np.uint16)
    clusters = [names[classes_at(step)] for step in range(10)]
    assert TASK.summarise([outcome_of(sample, rules, clusters)])["mIoU"] == 1
    # From the second frame on two clusters bear new names, so that the anchor tells of one alone; over the clip the
    # new names win, because they are there longer.
    renamed = [clusters[0]] + [np.where(each == 0, 5, np.where(each == 9, 6, each)) for each in clusters[1:]]
    assert TASK.summarise([outcome_of(sample, rules, renamed)])["mIoU"] == pytest.approx(renamed_score)


def test_matching_modes_differ_where_clusters_are_many(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 10)
    # Roads fall apart into two clusters, and only majorities take both for road.
    halves = [np.where(np.arange(10) < 2, 3, classes_at(step) % 7).astype(np.uint16) for step in range(10)]
    figures = {
        rules: TASK.summarise([outcome_of(sample, rules, halves)])["pixel accuracy"]
        for rules in ("majority-per-video", "hungarian-per-video", "hungarian-per-frame", "anchor-majority")
    }
    assert figures["hungarian-per-video"] < figures["majority-per-video"] == figures["anchor-majority"] < 1
    assert figures["hungarian-per-video"] == figures["hungarian-per-frame"]


def test_clusters_must_be_numbered_closely(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 3)
    evaluator = TASK.evaluator(sample, "majority-per-video")
    with pytest.raises(MaskError, match="frame '000' of 'street' has cluster 5000; number them from 0 to 1023"):
        evaluator.update(0, np.full(SIZE, 5000, np.uint16))
    write_values(tmp_path / "results/street/000.png", np.full(SIZE, 300, np.uint16))
    assert (TASK.read(tmp_path / "results", sample, 0, "majority-per-video") == 300).all()
    with pytest.raises(MaskError, match="holds the value 300"):
        TASK.read(tmp_path / "results", sample, 0, "all-frames")


def test_predictors_are_given_classes_as_objects(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 4, anchors=(1,))
    given: dict[int, np.ndarray] = {}

    def copy(images, cues):
        given.update(cues)
        return (cues[0] for _ in images)

    with sample.open() as video:
        predictions = dict(TASK.predict(sample, copy, (frame.image for frame in video), range(4)))
    # Void is background, class c is object c + 1.
    np.testing.assert_array_equal(given[0], np.where(classes_at(1) == 7, 0, classes_at(1) + 1))
    assert sorted(predictions) == [0, 1, 2, 3]
    np.testing.assert_array_equal(predictions[0], predictions[3])
    np.testing.assert_array_equal(predictions[3], np.where(classes_at(1) == 7, VOID, classes_at(1).astype(np.uint16)))
    TASK.write(tmp_path / "results", sample, 3, predictions[3])
    np.testing.assert_array_equal(read_values(tmp_path / "results/street/003.png"), classes_at(1))
    np.testing.assert_array_equal(TASK.read(tmp_path / "results", sample, 3, "all-frames"), predictions[3])


def test_frames_before_the_first_anchor_are_predicted_from_it_backwards(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 6, anchors=(2, 4))
    shown = [np.full((*SIZE, 3), number, np.uint8) for number in range(6)]
    asked = []

    def count(images, cues):
        """Says how many frames it is from where it began, and what it saw."""
        asked.append((sorted(cues), seen := []))
        for place, image in enumerate(images):
            seen.append(int(image[0, 0, 0]))
            yield np.full(SIZE, place + 1, np.uint16)

    predictions = dict(TASK.predict(sample, count, iter(shown), range(6)))
    assert asked == [([0], [2, 1, 0]), ([0, 2], [2, 3, 4, 5])]
    assert [int(predictions[index][0, 0]) for index in range(6)] == [2, 1, 0, 1, 2, 3]

    class Whole:
        both_ways = clusters = True

        def __call__(self, images, cues):
            asked.append((sorted(cues), [int(image[0, 0, 0]) for image in images]))
            return iter([np.full(SIZE, 1, np.uint16)] * 6)

    for rules in ("anchor-excluded", "hungarian-per-video"):
        assert (dict(TASK.predict(sample, Whole(), iter(shown), range(6), rules))[5] == 0).all()
    # Clusters are made without having seen the truth they are matched with.
    assert asked[2:] == [([2, 4], list(range(6))), ([], list(range(6)))]


def test_nothing_to_start_from_and_nothing_to_score(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 4)
    with pytest.raises(SettingsError, match="no frame of 'street' that is shown has truth that may be given"):
        next(TASK.predict(sample, lambda images, cues: iter(()), iter(()), [1, 2]))
    with pytest.raises(SettingsError, match="protocol 'lab' shows no frame of 'street' that can be scored"):
        TASK.check_shown(sample, "anchor-excluded", [0], "lab")
    with pytest.raises(MaskError, match="for frame '001' of 'street' has shape"):
        TASK.evaluator(sample, "all-frames").update(1, np.zeros((2, 2), np.uint16))


def test_a_sample_knows_what_decides_its_scores(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 3)
    before = sample.fingerprint()
    assert replace(sample, anchors=(1,)).fingerprint() != before
    assert replace(sample, coding=LabelCoding(values=(0, 2, 1), void=(7,))).fingerprint() != before
    assert make_sample(tmp_path, 3).fingerprint() == before


def test_codings() -> None:
    coding = LabelCoding(values=(7, 300), void=(0, 255), colours=((9, 0, 0), (0, 9, 0), (0, 0, 0)))
    values = np.array([[7, 300, 0, 255]], np.uint16)
    np.testing.assert_array_equal(coding.decode(values, "f"), [[0, 1, VOID, VOID - 1]])
    np.testing.assert_array_equal(coding.encode(np.array([[0, 1, VOID, VOID - 1]], np.uint16)), [[7, 300, 0, 0]])
    narrow = np.array([[7, 0, 255]], np.uint8)
    np.testing.assert_array_equal(coding.decode(narrow, "f"), [[0, VOID, VOID - 1]])
    colours = np.array([[[9, 0, 0], [0, 9, 0], [0, 0, 0]]], np.uint8)
    np.testing.assert_array_equal(coding.decode(colours, "f"), [[0, 1, VOID]])
    for wrong, value in ((values + 1, "8"), (narrow + np.uint8(1), "8"), (colours + np.uint8(1), r"\(10, 1, 1\)")):
        with pytest.raises(MaskError, match=f"^f holds the value {value}, which is no class of the dataset"):
            coding.decode(wrong, "f")
    with pytest.raises(MaskError, match="f is RGB-coded"):
        LabelCoding(values=(0, 1)).decode(colours, "f")
    with pytest.raises(MaskError, match="the dataset has no value for that"):
        LabelCoding(values=(0, 1)).encode(np.array([[VOID]], np.uint16))


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "1"])
def test_values_are_read_as_stored(tmp_path: Path, mode: str) -> None:
    pixels = np.array([[0, 1], [1, 0]], np.uint16 if mode == "I;16" else np.uint8)
    image = Image.fromarray(pixels if mode != "1" else pixels * 255)
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    (image.convert("1") if mode == "1" else image).save(tmp_path / "v.png")
    np.testing.assert_array_equal(read_values(tmp_path / "v.png"), pixels)
    with pytest.raises(MaskError, match="is missing; add it"):
        read_values(tmp_path / "w.png")
