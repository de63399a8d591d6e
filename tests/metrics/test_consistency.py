import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from undertow.metrics.consistency import Consistency, ConsistencyEvaluator

VOID = 9


def reference_official(pred: np.ndarray, true: np.ndarray, n: int) -> list[float]:
    """The published definition: every frame of every window but the last against the window's first frame."""
    ratios = []
    for start in range(len(true) - n):
        steady_true, steady_pred = np.ones(true.shape[1:], bool), np.ones(true.shape[1:], bool)
        for offset in range(1, n):
            steady_true &= true[start] == true[start + offset]
            steady_pred &= pred[start] == pred[start + offset]
        both = (steady_true & steady_pred).sum()
        ratios.append(both / steady_true.sum() if steady_true.any() else np.nan)
    return ratios


def reference_strict(pred: np.ndarray, true: np.ndarray, n: int, void: tuple[int, ...] = (VOID,)) -> list[float]:
    """All windows; truth steady and not void, the prediction right on every frame."""
    ratios = []
    for start in range(len(true) - n + 1):
        window = slice(start, start + n)
        steady = (true[window] == true[start]).all(axis=0) & ~np.isin(true[start], void)
        right = (pred[window] == true[window]).all(axis=0)
        ratios.append((steady & right).sum() / steady.sum() if steady.any() else np.nan)
    return ratios


def measured(pred, true, windows=(2, 3), mode="official", anchors=()) -> Consistency:
    evaluator = ConsistencyEvaluator(windows, mode, (VOID,))
    for frame in range(len(true)):
        evaluator.update(pred[frame], true[frame], anchor=frame in anchors)
    return evaluator.result()


def clips(longest: int = 9):
    """Pairs (pred, true) of small clips with few values, so that pixels often stay the same."""
    shape = st.tuples(st.integers(0, longest), st.integers(1, 2), st.integers(1, 3))
    values = st.sampled_from([0, 0, 0, 1, VOID])
    return shape.flatmap(lambda s: st.tuples(*(arrays.arrays(np.uint8, s, elements=values),) * 2))


@settings(max_examples=60, deadline=None)
@given(clips(), st.integers(1, 5))
def test_official_equals_the_literal_loops(clip, n):
    np.testing.assert_array_equal(measured(*clip, (n,)).ratios[n], reference_official(*clip, n))


@settings(max_examples=60, deadline=None)
@given(clips(), st.integers(1, 5))
def test_strict_equals_the_literal_loops(clip, n):
    np.testing.assert_array_equal(measured(*clip, (n,), "strict").ratios[n], reference_strict(*clip, n))


@pytest.mark.parametrize("mode", ["official", "strict"])
def test_published_window_lengths_on_a_drifting_clip(mode):
    generator = np.random.default_rng(3)
    shape = (40, 12, 16)
    true = np.repeat(generator.integers(0, 4, (5, 12, 16)), 8, axis=0)
    pred = np.where(generator.random(shape) < 0.02, generator.integers(0, 4, shape), true)
    result = measured(pred, true, (8, 16), mode)
    reference = reference_official if mode == "official" else reference_strict
    for n in (8, 16):
        expected = reference(pred, true, n)
        np.testing.assert_array_equal(result.ratios[n], expected)
        assert result.mean(n) == np.nanmean(expected)


def test_counted_by_hand():
    # Four pixels, three frames, windows of two. Truth: the last pixel changes on frame 2.
    true = np.array([[[0, 0, 1, 1]], [[0, 0, 1, 1]], [[0, 0, 1, 0]]])
    # Prediction: pixel 0 right throughout, 1 steadily wrong, 2 flickers on frame 1, 3 follows truth.
    pred = np.array([[[0, 5, 1, 1]], [[0, 5, 0, 1]], [[0, 5, 1, 0]]])
    np.testing.assert_array_equal(measured(pred, true, (2,)).ratios[2], [3 / 4])
    np.testing.assert_array_equal(measured(pred, true, (2,), "strict").ratios[2], [2 / 4, 1 / 3])
    np.testing.assert_array_equal(measured(pred, true, (1,)).ratios[1], [1, 1])
    np.testing.assert_array_equal(measured(pred, true, (1,), "strict").ratios[1], [3 / 4, 2 / 4, 3 / 4])


@pytest.mark.parametrize(("length", "official", "strict"), [(0, 0, 0), (1, 0, 0), (3, 0, 0), (4, 0, 1), (5, 1, 2)])
def test_number_of_windows(length, official, strict):
    clip = np.zeros((2, length, 2, 2), np.uint8)
    assert len(measured(*clip, (4,)).ratios[4]) == official
    assert len(measured(*clip, (4,), "strict").ratios[4]) == strict


def test_constant_prediction_scores_one_officially_and_nothing_strictly():
    true = np.ones((10, 3, 3), np.uint8)
    assert measured(0 * true, true).mean(3) == 1
    assert measured(0 * true, true, mode="strict").mean(3) == 0


def test_void_is_a_class_officially_and_left_out_strictly():
    true = np.full((6, 2, 2), VOID, np.uint8)
    assert measured(true, true).mean(2) == 1
    strict = measured(true, true, mode="strict")
    assert np.isnan(strict.ratios[2]).all() and len(strict.ratios[2]) == 5 and np.isnan(strict.mean(2))


def test_windows_without_steady_truth_are_left_out_of_the_mean():
    true = np.array([0, 1, 1, 1])[:, None, None]
    result = measured(true, true, (2,))
    np.testing.assert_array_equal(result.ratios[2], [np.nan, 1])
    assert result.mean(2) == 1


def test_two_void_values_do_not_make_a_run():
    true = np.array([7, 8, 0, 0])[:, None, None]
    evaluator = ConsistencyEvaluator((2,), "strict", void=(7, 8))
    for frame in true:
        evaluator.update(frame, frame)
    np.testing.assert_array_equal(evaluator.result().ratios[2], [np.nan, np.nan, 1])


@settings(max_examples=60, deadline=None)
@given(clips(), st.integers(1, 4), st.sets(st.integers(0, 8), max_size=3), st.sampled_from(["official", "strict"]))
def test_windows_with_an_anchor_are_left_out(clip, n, anchors, mode):
    pred, true = clip
    everything = measured(pred, true, (n,), mode).ratios[n]
    free = [not anchors & set(range(start, start + n)) for start in range(len(everything))]
    np.testing.assert_array_equal(measured(pred, true, (n,), mode, anchors).ratios[n], everything[free])


def test_result_may_be_asked_for_at_any_time():
    generator = np.random.default_rng(0)
    pred, true = generator.integers(0, 2, (2, 8, 2, 3))
    for mode, reference in (("official", reference_official), ("strict", reference_strict)):
        evaluator = ConsistencyEvaluator((2,), mode, (VOID,))
        for frame in range(8):
            evaluator.update(pred[frame], true[frame])
            for _ in range(2):
                np.testing.assert_array_equal(
                    evaluator.result().ratios[2], reference(pred[: frame + 1], true[: frame + 1], 2)
                )


def test_frames_may_be_reused_by_the_caller():
    pred, true, evaluator = np.zeros((1, 2), int), np.zeros((1, 2), int), ConsistencyEvaluator((2,))
    for value in (0, 1, 2, 3):
        pred[:], true[:] = value, 0
        evaluator.update(pred, true)
    assert evaluator.result().mean(2) == 0


@settings(max_examples=60, deadline=None)
@given(clips(), clips(), st.permutations(range(10)))
def test_bounds_renaming_identity_and_merging(first, second, names):
    results = [measured(*clip) for clip in (first, second)]
    joint = results[0] + results[1]
    for n in (2, 3):
        ratios = np.concatenate([result.ratios[n] for result in results])
        np.testing.assert_array_equal(joint.ratios[n], ratios)
        known = ratios[~np.isnan(ratios)]
        assert ((known >= 0) & (known <= 1)).all()
        np.testing.assert_equal(joint.mean(n), known.mean() if len(known) else np.nan)
        # Names say nothing: officially not even which name truth and prediction have in common.
        np.testing.assert_array_equal(measured(np.array(names)[first[0]], first[1]).ratios[n], results[0].ratios[n])
        same = measured(first[1], first[1]).ratios[n]
        np.testing.assert_array_equal(same[~np.isnan(same)], 1)


@settings(max_examples=60, deadline=None)
@given(clips(), st.integers(1, 4))
def test_being_right_is_harder_than_being_steady(clip, n):
    """Window by window, and only as long as no pixel is void: then both have one denominator."""
    official, strict = measured(*clip, (n,)).ratios[n], ConsistencyEvaluator((n,), "strict")
    for pred, true in zip(*clip, strict=True):
        strict.update(pred, true)
    assert not (strict.result().ratios[n][: len(official)] > official).any()


def camvid(shared_data) -> np.ndarray:
    paths = sorted((shared_data / "camvid-val" / "masks").glob("*.png"))
    if not paths:
        pytest.skip("no camvid-val/masks among the real sequences")
    return np.stack([np.asarray(Image.open(path)) for path in paths])


@pytest.mark.shared_data
def test_real_labels_shown_one_frame_late(shared_data):
    true = camvid(shared_data)
    pred = np.concatenate((true[:1], true[:-1]))
    expected = {"official": {8: 0.9771, 16: 0.9833}, "strict": {8: 0.9776, 16: 0.9835}}
    for mode, reference in (("official", reference_official), ("strict", reference_strict)):
        evaluator = ConsistencyEvaluator((8, 16), mode, void=(11,))
        for frame in range(len(true)):
            evaluator.update(pred[frame], true[frame])
        result = evaluator.result()
        assert {n: round(result.mean(n), 4) for n in (8, 16)} == expected[mode]
        short = slice(0, 20)
        literal = reference(pred[short], true[short], 8, *([(11,)] if mode == "strict" else []))
        np.testing.assert_array_equal(result.ratios[8][: len(literal)], literal)


def test_arguments_that_make_no_sense():
    for windows in ((), (0,), (8, -1)):
        with pytest.raises(ValueError, match="one frame or more"):
            ConsistencyEvaluator(windows)
    with pytest.raises(ValueError, match="official or strict"):
        ConsistencyEvaluator(mode="lenient")
    evaluator = ConsistencyEvaluator((2,))
    evaluator.update(np.zeros((2, 3), int), np.zeros((2, 3), int))
    for shapes in (((2, 3), (3, 2)), ((3, 2), (3, 2)), ((6,), (6,))):
        with pytest.raises(ValueError, match="one size"):
            evaluator.update(*(np.zeros(shape, int) for shape in shapes))
    with pytest.raises(ValueError, match="not counted"):
        evaluator.result().mean(8)
    with pytest.raises(ValueError, match="window lengths differ"):
        evaluator.result() + ConsistencyEvaluator((3,)).result()
