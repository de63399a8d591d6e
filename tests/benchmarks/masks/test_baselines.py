import sys
from typing import Any

import numpy as np
import pytest

from undertow.base import SettingsError
from undertow.benchmarks.masks.methods import FlowSettings, carry, copy_labels, flow_labels


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Colours that vary smoothly and at random, repeating after the given size."""
    y, x = np.mgrid[:height, :width]
    generator = np.random.default_rng(seed)
    waves = np.zeros((height, width, 3))
    for _ in range(14):
        rows, columns = generator.integers(-9, 10, 2)
        phase = generator.random(3) * 2 * np.pi
        waves += np.cos(2 * np.pi * (rows * y / height + columns * x / width)[..., None] + phase)
    return np.clip(128 + 24 * waves, 0, 255).astype(np.uint8)


def rolling(count: int, shift: tuple[int, int]) -> list[np.ndarray]:
    """Images that move as a whole, by (down, right) pixels per frame."""
    image = texture(1, 72, 96)
    return [np.roll(image, (step * shift[0], step * shift[1]), (0, 1)) for step in range(count)]


def jaccard(pred: np.ndarray, true: np.ndarray) -> float:
    return float((pred & true).sum() / (pred | true).sum())


def test_copy_repeats_the_first_map() -> None:
    first = np.eye(4, dtype=np.uint16)
    labels = list(copy_labels(iter([np.zeros((4, 4, 3), np.uint8)] * 3), {0: first}))
    assert len(labels) == 3 and all((each == first).all() for each in labels)


@pytest.mark.parametrize("estimator", ["farneback", "dis"])
@pytest.mark.parametrize("tokens", [None, 60])
def test_flow_carries_labels_along(estimator: Any, tokens: int | None) -> None:
    first = np.zeros((72, 96), np.uint16)
    first[20:44, 20:40], first[30:60, 50:74] = 3, 7
    settings = FlowSettings(estimator=estimator, tokens=tokens)
    results = list(flow_labels(iter(rolling(6, (1, 2))), {0: first}, settings))
    assert len(results) == 6 and (results[0] == first).all()
    for step, labels in enumerate(results):
        assert labels.dtype == np.uint16 and set(np.unique(labels)) == {0, 3, 7}
        for number in (3, 7):
            moved = np.roll(first, (step, 2 * step), (0, 1)) == number
            assert jaccard(labels == number, moved) > (0.85 if tokens is None else 0.75)
    still = jaccard(first == 3, np.roll(first, (5, 10), (0, 1)) == 3)
    assert still < 0.4


def test_working_size_has_the_area_of_the_budget() -> None:
    assert FlowSettings().working_size(480, 854) == (480, 854)
    height, width = FlowSettings(tokens=1600).working_size(480, 854)
    assert height * width == pytest.approx(1600 * 64, rel=0.01) and width / height == pytest.approx(854 / 480, rel=0.01)
    assert FlowSettings(tokens=100000).working_size(480, 854) == (480, 854)


def one_hot() -> np.ndarray:
    soft = np.zeros((2, 6, 10), np.float32)
    soft[1, 2:5, 3:6] = 1
    soft[0] = 1 - soft[1]
    return soft


def field(x: float, y: float = 0.0) -> np.ndarray:
    return np.full((6, 10, 2), (x, y), np.float32)


def test_backward_flow_points_to_where_the_label_is_fetched() -> None:
    carried = carry(one_hot(), backward=field(-2, 1), forward=field(2, -1), settings=FlowSettings(tolerance=0.1))
    np.testing.assert_allclose(carried[1, :5, 2:], one_hot()[1, 1:, :-2])


def test_no_motion_changes_nothing() -> None:
    for fallback in ("doubt", "nearest", "previous"):
        settings = FlowSettings(fallback=fallback)
        np.testing.assert_allclose(carry(one_hot(), backward=field(0), forward=field(0), settings=settings), one_hot())


def test_longer_flows_have_more_slack() -> None:
    settings = FlowSettings(fallback="previous", tolerance=0.5, share=0.1)
    # Gaps of 1 px (squared: 1) against 0.5 + 0.1 * (9 + 4) = 1.8, and against 0.5 + 0.1 * (1 + 0) = 0.6.
    passed = carry(one_hot(), backward=field(-3), forward=field(2), settings=settings)
    failed = carry(one_hot(), backward=field(-1), forward=field(0), settings=settings)
    np.testing.assert_allclose(passed[1, :, 3:], one_hot()[1, :, :-3])
    np.testing.assert_allclose(failed, one_hot())


def inconsistent_left_half() -> dict[str, Any]:
    """No motion, but on the left half the forward flow disagrees."""
    forward = field(0)
    forward[:, :5] = 4
    return {"backward": field(0), "forward": forward}


def test_doubt_hands_a_share_to_the_background() -> None:
    settings = FlowSettings(tolerance=0.5, share=0.0, trust=0.7)
    carried = carry(one_hot(), **inconsistent_left_half(), settings=settings)
    expected = one_hot()[1]
    expected[:, :5] *= 0.7
    np.testing.assert_allclose(carried[1], expected, rtol=1e-6)
    np.testing.assert_allclose(carried.sum(0), 1, rtol=1e-6)
    full = carry(one_hot(), **inconsistent_left_half(), settings=FlowSettings(tolerance=0.5, share=0.0, trust=1.0))
    np.testing.assert_allclose(full, one_hot())


def test_nearest_takes_the_closest_pixel_that_passed() -> None:
    settings = FlowSettings(tolerance=0.5, share=0.0, fallback="nearest")
    carried = carry(one_hot(), **inconsistent_left_half(), settings=settings)
    expected = one_hot()
    expected[:, :, :5] = expected[:, :, 5:6]
    np.testing.assert_allclose(carried, expected)


def test_previous_keeps_the_label_of_the_place() -> None:
    flows = {"backward": field(-1), "forward": field(1)}
    flows["forward"][:, :5] = 6
    settings = FlowSettings(tolerance=0.5, share=0.0, fallback="previous")
    carried = carry(one_hot(), **flows, settings=settings)
    np.testing.assert_allclose(carried[:, :, 1:5], one_hot()[:, :, 1:5])
    np.testing.assert_allclose(carried[:, :, 6:], one_hot()[:, :, 5:-1])


def test_what_comes_from_outside_the_image_is_not_consistent() -> None:
    flows = {"backward": field(-4), "forward": field(4)}
    soft = np.stack([np.zeros((6, 10), np.float32), np.ones((6, 10), np.float32)])
    carried = carry(soft, **flows, settings=FlowSettings(trust=0.5))
    np.testing.assert_allclose(carried[1, :, :4], 0.5)
    np.testing.assert_allclose(carried[1, :, 4:], 1.0)


def test_nothing_consistent_keeps_the_previous_labels() -> None:
    settings = FlowSettings(tolerance=0.5, share=0.0, fallback="nearest")
    np.testing.assert_allclose(carry(one_hot(), backward=field(2), forward=field(2), settings=settings), one_hot())


def test_settings_out_of_range() -> None:
    with pytest.raises(SettingsError, match="trust is 2"):
        FlowSettings(trust=2)
    with pytest.raises(SettingsError, match="tokens is 3"):
        FlowSettings(tokens=3)


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    frames = iter(rolling(2, (0, 0)))
    with pytest.raises(SettingsError, match=r"pip install 'undertow\[bench\]'"):
        list(flow_labels(frames, {0: np.ones((72, 96), np.uint16)}, FlowSettings()))


@pytest.mark.parametrize("carried", [False, True])
def test_an_object_that_joins_later_is_painted_over_what_is_there(carried: bool) -> None:
    first, second = np.zeros((72, 96), np.uint16), np.zeros((72, 96), np.uint16)
    first[20:44, 20:40], second[30:60, 30:74] = 1, 2
    still = iter([np.full((72, 96, 3), 7, np.uint8)] * 4)
    cues = {0: first, 2: second}
    maps = list(flow_labels(still, cues, FlowSettings()) if carried else copy_labels(still, cues))
    joined = np.where(second > 0, 2, first)
    assert (maps[1] == first).all() and (maps[2] == joined).all() and (maps[3] == joined).all()


def test_a_first_mask_is_needed() -> None:
    with pytest.raises(SettingsError, match="no mask of the first frame"):
        list(copy_labels(iter([np.zeros((4, 4, 3), np.uint8)]), {}))
