import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.metrics import Summary, decay, mean, paired_bootstrap, recall
from undertow.metrics.statistics import frame_change, temporal_consistency


def test_recall_is_strict() -> None:
    assert recall([0.5, 0.5000001, 0.2, 0.9]) == 0.5


def test_nothing_to_score_is_not_a_number() -> None:
    assert all(np.isnan(measure([])) for measure in (mean, recall, decay))


@pytest.mark.parametrize(
    ("count", "first", "last"),
    [
        (1, [0], [0]),
        (2, [0], [1]),
        (3, [0, 1], [2]),
        (4, [0, 1], [2, 3]),
        (5, [0, 1], [3, 4]),
        (8, [0, 1, 2], [5, 6, 7]),
        (10, [0, 1, 2], [7, 8, 9]),
    ],
)
def test_quarters_share_their_end_frames(count: int, first: list[int], last: list[int]) -> None:
    values = np.random.default_rng(count).random(count)
    # By hand: the edges are the 1-based positions 1 + (count - 1) q / 4, rounded with halves up.
    assert decay(values) == pytest.approx(values[first].mean() - values[last].mean(), abs=1e-15)


def test_decay_of_a_golden_series() -> None:
    # Nine frames: edges 1 3 5 7 9, so frames 1-3 against 7-9.
    assert decay([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]) == pytest.approx(0.6)
    # Six frames: edges 1 2.25 3.5 4.75 6 -> 1 2 4 5 6.
    assert decay([1.0, 0.5, 0.0, 0.0, 0.25, 0.0]) == pytest.approx(0.75 - 0.125)


def test_decay_is_right_for_long_sequences() -> None:
    assert decay(np.linspace(1, 0, 1000)) == pytest.approx(0.75, abs=1e-2)


def test_decay_just_beyond_eight_bits() -> None:
    # 300 frames: edges 1 75.75 150.5 225.25 300 -> 1 76 151 225 300. In eight bits the last, 299, would be 43.
    values = np.zeros(300)
    values[:76], values[224:] = 0.75, 0.5
    assert decay(values) == 0.25
    values[44:76] = 0
    assert decay(values) == pytest.approx(0.75 * 44 / 76 - 0.5)


def test_summary_and_average() -> None:
    summary = Summary.of([1.0, 0.6, 0.2])
    assert summary.mean == pytest.approx(0.6) and summary.recall == pytest.approx(2 / 3)
    average = Summary.average([Summary(1.0, 0.5, 0.2), Summary(0.0, 0.5, -0.4)])
    assert (average.mean, average.recall, average.decay) == pytest.approx((0.5, 0.5, -0.1))


def test_bootstrap_of_constant_differences_is_a_point() -> None:
    assert paired_bootstrap(np.full(12, 0.25), samples=100) == pytest.approx((0.25, 0.25, 0.25))


def test_bootstrap_interval_is_that_of_a_large_sample_and_repeats() -> None:
    differences = np.random.default_rng(5).normal(0.1, 0.2, 400)
    middle, low, high = paired_bootstrap(differences, seed=3)
    error = differences.std() / np.sqrt(len(differences))
    assert middle == pytest.approx(differences.mean())
    assert low == pytest.approx(middle - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(middle + 1.96 * error, abs=0.1 * error)
    assert paired_bootstrap(differences, seed=3) == (middle, low, high)
    assert paired_bootstrap(differences, seed=4) != (middle, low, high)


def test_bootstrap_equals_plain_resampling() -> None:
    differences = np.array([0.3, -0.1, 0.2, 0.05, 0.4])
    generator = np.random.default_rng(0)
    plain = [generator.choice(differences, len(differences)).mean() for _ in range(4000)]
    _, low, high = paired_bootstrap(differences)
    assert (low, high) == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=0.02)


def test_bootstrap_needs_values() -> None:
    with pytest.raises(ValueError, match="non-empty"):
        paired_bootstrap(np.array([]))


CLIPS = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=6), min_size=1, max_size=4)


def reference(clips: list[list[float]]) -> float:
    means = []
    for clip in clips:
        steps = [abs(clip[t + 1] - clip[t]) for t in range(len(clip) - 1)]
        if steps:
            means.append(sum(steps) / len(steps))
    return 100 * sum(means) / len(means) if means else float("nan")


def test_hand_computed_values() -> None:
    # Clips count alike: (0.1 + 0.3) / 2 and 0.4.
    assert temporal_consistency([[0.8, 0.9, 0.6], [0.5, 0.1]]) == pytest.approx(100 * (0.2 + 0.4) / 2)
    assert temporal_consistency([[0.8, 0.9, 0.6], [0.5, 0.1]], signed=True) == pytest.approx(100 * (-0.1 - 0.4) / 2)


def test_flicker_cancels_in_the_signed_form_only() -> None:
    flicker = [1.0, 0.0, 1.0, 0.0, 1.0]
    assert temporal_consistency([flicker]) == 100.0
    assert temporal_consistency([flicker], signed=True) == 0.0


def test_clips_of_one_frame_have_no_pair() -> None:
    assert np.isnan(frame_change([0.7])) and np.isnan(frame_change([]))
    assert temporal_consistency([[0.7], [0.2, 0.4]]) == pytest.approx(20)
    assert np.isnan(temporal_consistency([[0.7]])) and np.isnan(temporal_consistency([]))


@settings(max_examples=60, deadline=None)
@given(CLIPS)
def test_equals_the_definition(clips: list[list[float]]) -> None:
    value = temporal_consistency(clips)
    assert value == pytest.approx(reference(clips), nan_ok=True)
    backwards = [clip[::-1] for clip in reversed(clips)]
    assert temporal_consistency(backwards) == pytest.approx(value, nan_ok=True)
    assert np.isnan(value) or 0 <= value <= 100


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_signed_form_knows_the_ends_only_and_is_the_smaller(clip: list[float]) -> None:
    signed = frame_change(clip, signed=True)
    assert signed == pytest.approx((clip[-1] - clip[0]) / (len(clip) - 1), abs=1e-12)
    assert abs(signed) <= frame_change(clip) + 1e-12


@pytest.mark.parametrize("scores", [[[0.1, 0.2]], [0.1, float("nan")]])
def test_scores_must_be_a_list_of_numbers(scores: list) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        frame_change(scores)
