import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from undertow.metrics.confusion import ConfusionMatrix, SemanticScores

VOID = 65535


def reference_counts(pred: np.ndarray, true: np.ndarray, classes: int) -> np.ndarray:
    """Pixel by pixel: valid truth picks the row, the prediction the column, or the last one if it is no class."""
    counts = np.zeros((classes, classes + 1), np.int64)
    for p, t in zip(pred.ravel().tolist(), true.ravel().tolist(), strict=True):
        if 0 <= t < classes:
            counts[t, p if 0 <= p < classes else classes] += 1
    return counts


def reference_iou(pred: np.ndarray, true: np.ndarray, classes: int) -> dict[int, float]:
    """The definition with sets of pixels; classes that neither truth nor prediction holds are missing."""
    valid = (true >= 0) & (true < classes)
    found = {}
    for k in range(classes):
        union = (valid & ((pred == k) | (true == k))).sum()
        if union:
            found[k] = (valid & (pred == k) & (true == k)).sum() / union
    return found


def counted(pred, true, classes: int) -> SemanticScores:
    matrix = ConfusionMatrix(classes)
    matrix.update(np.asarray(pred), np.asarray(true))
    return matrix.scores()


def label_maps(classes: int):
    """Pairs of (pred, true) maps whose values run one out of range on both sides."""
    shape = st.tuples(st.integers(0, 5), st.integers(1, 6))
    values = st.integers(-1, classes)
    return shape.flatmap(lambda s: st.tuples(*(arrays.arrays(np.int16, s, elements=values),) * 2))


def test_scores_counted_by_hand():
    # Class 0: 3 true, 2 found; class 1: 3 true, 1 found, 2 falsely claimed; class 2: never true, claimed once.
    true = [[0, 0, 0, 1, 1, 1, VOID]]
    pred = [[0, 0, 1, 1, 2, VOID, 1]]
    scores = counted(pred, true, 4)
    np.testing.assert_array_equal(scores.pixels, [3, 3, 0, 0])
    np.testing.assert_array_equal(scores.predicted, [2, 2, 1, 0])
    np.testing.assert_array_equal(scores.iou, [2 / 3, 1 / 4, 0, np.nan])
    np.testing.assert_array_equal(scores.accuracy, [2 / 3, 1 / 3, np.nan, np.nan])
    assert scores.unknown == 1
    assert scores.mean_iou() == pytest.approx((2 / 3 + 1 / 4) / 2)
    assert scores.mean_iou("seen") == pytest.approx((2 / 3 + 1 / 4) / 3)
    assert scores.mean_iou("all") == pytest.approx((2 / 3 + 1 / 4) / 4)
    assert scores.pixel_accuracy == pytest.approx(3 / 6)


def test_unknown_predictions_are_missed_by_their_class_and_false_for_none():
    for unknown in (VOID, 124, 255):
        scores = counted([[0, unknown, 1]], [[0, 0, 1]], 2)
        np.testing.assert_array_equal(scores.iou, [1 / 2, 1])
        assert scores.unknown == 1
    assert counted(np.full((2, 2), -1), np.zeros((2, 2), int), 2).mean_iou() == 0


def test_predictions_on_void_cost_nothing():
    scores = counted([[0, 1, 1]], [[0, 255, VOID]], 2)
    assert scores.mean_iou() == 1 and scores.predicted[1] == 0


def test_nothing_counted_is_nan():
    for scores in (ConfusionMatrix(3).scores(), counted([[0, 1]], [[VOID, VOID]], 3)):
        for value in (scores.mean_iou(), scores.mean_iou("seen"), scores.pixel_accuracy):
            assert np.isnan(value)
        assert scores.mean_iou("all") == 0


def test_constant_prediction_scores_its_class_only():
    scores = counted(np.zeros((4, 4), np.uint8), np.arange(16).reshape(4, 4) % 4, 4)
    np.testing.assert_array_equal(scores.iou, [1 / 4, 0, 0, 0])


def test_one_class():
    assert counted([[0, 0]], [[0, 0]], 1).mean_iou() == 1


def test_split_is_not_the_mean_of_its_videos():
    videos = [([[0, 0, 0, 0]], [[0, 0, 0, 1]]), ([[1, 1]], [[1, 1]])]
    matrices = []
    for pred, true in videos:
        matrices.append(ConfusionMatrix(2))
        matrices[-1].update(np.array(pred), np.array(true))
    assert (matrices[0] + matrices[1]).scores().mean_iou() == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert np.mean([m.scores().mean_iou() for m in matrices]) == pytest.approx((3 / 8 + 1) / 2)


def test_ignored_values():
    true, pred = np.array([[0, 1, 2, 11]]), np.array([[1, 1, 1, 1]])
    matrix = ConfusionMatrix(3, ignore=(11, 2))
    matrix.update(pred, true)
    np.testing.assert_array_equal(matrix.counts[:, 1], [1, 1, 0])
    with pytest.raises(ValueError, match=r"truth holds \[12\]"):
        matrix.update(pred, np.array([[0, 1, 2, 12]]))
    np.testing.assert_array_equal(matrix.counts.sum(), 2)


@pytest.mark.parametrize(
    ("pred", "true", "match"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "one size"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), "integers"),
        (np.zeros((2, 3), int), np.zeros((2, 3), bool), "integers"),
    ],
)
def test_maps_that_do_not_fit(pred, true, match):
    with pytest.raises(ValueError, match=match):
        ConfusionMatrix(2).update(pred, true)


def test_settings_that_make_no_sense():
    with pytest.raises(ValueError, match="one class or more"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match="cannot add"):
        ConfusionMatrix(2) + ConfusionMatrix(3)
    with pytest.raises(ValueError, match="cannot add"):
        ConfusionMatrix(2) + ConfusionMatrix(2, ignore=(255,))
    with pytest.raises(ValueError, match="in-truth, seen or all"):
        ConfusionMatrix(2).scores().mean_iou("every")


@settings(max_examples=60, deadline=None)
@given(label_maps(4))
def test_equals_pixel_by_pixel_counting(maps):
    pred, true = maps
    matrix = ConfusionMatrix(4)
    matrix.update(pred, true)
    np.testing.assert_array_equal(matrix.counts, reference_counts(pred, true, 4))
    scores, expected = matrix.scores(), reference_iou(pred, true, 4)
    np.testing.assert_array_equal(scores.iou, [expected.get(k, np.nan) for k in range(4)])
    present = [k for k in range(4) if (true == k).any()]
    if present:
        assert scores.mean_iou() == pytest.approx(np.mean([expected[k] for k in present]))
        assert scores.mean_iou("all") == pytest.approx(sum(expected.values()) / 4)
        assert 0 <= scores.mean_iou("all") <= scores.mean_iou("seen") <= scores.mean_iou() <= 1
        valid = (true >= 0) & (true < 4)
        assert scores.pixel_accuracy == pytest.approx((pred == true)[valid].mean())


@settings(max_examples=60, deadline=None)
@given(label_maps(3), st.permutations(range(3)))
def test_renaming_classes_changes_nothing_but_their_order(maps, order):
    pred, true = maps
    renamed = np.array([*order, 3, -1])
    before, after = counted(pred, true, 3), counted(renamed[pred], renamed[true], 3)
    np.testing.assert_array_equal(after.iou[list(order)], before.iou)
    np.testing.assert_equal(after.pixel_accuracy, before.pixel_accuracy)


@settings(max_examples=60, deadline=None)
@given(label_maps(3))
def test_truth_scores_one_on_itself(maps):
    _, true = maps
    scores = counted(true, true, 3)
    assert np.isnan(scores.mean_iou()) or scores.mean_iou() == scores.pixel_accuracy == 1
    assert scores.unknown == 0


@settings(max_examples=60, deadline=None)
@given(label_maps(3), label_maps(3))
def test_merging_equals_counting_together(first, second):
    joint, parts = ConfusionMatrix(3), []
    for pred, true in (first, second):
        parts.append(ConfusionMatrix(3))
        for matrix in (joint, parts[-1]):
            matrix.update(pred, true)
    np.testing.assert_array_equal((parts[0] + parts[1]).counts, joint.counts)
    np.testing.assert_array_equal((parts[1] + parts[0]).counts, joint.counts)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.uint64])
def test_any_integer_type(kind):
    generator = np.random.default_rng(0)
    pred, true = generator.integers(0, 7, (2, 20, 30)).astype(kind)
    matrix = ConfusionMatrix(5)
    matrix.update(pred, true)
    np.testing.assert_array_equal(matrix.counts, reference_counts(pred, true, 5))


@pytest.mark.shared_data
def test_real_labels_shown_one_frame_late(shared_data):
    paths = sorted((shared_data / "camvid-val" / "masks").glob("*.png"))
    if not paths:
        pytest.skip("no camvid-val/masks among the real sequences")
    late, same, last = ConfusionMatrix(11, ignore=(11,)), ConfusionMatrix(11, ignore=(11,)), None
    for path in paths:
        true = np.asarray(Image.open(path))
        late.update(true if last is None else last, true)
        same.update(true, true)
        last = true
    assert same.scores().mean_iou() == same.scores().pixel_accuracy == 1
    scores = late.scores()
    assert round(scores.mean_iou(), 4) == 0.7371 and round(scores.pixel_accuracy, 4) == 0.945
