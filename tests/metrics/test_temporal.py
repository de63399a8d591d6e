import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.metrics.temporal import frame_change, temporal_consistency

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
