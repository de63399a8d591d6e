"""Boxes and points without a network: what stands out in colour is found, and useless cues are refused."""

import sys

import numpy as np
import pytest

from undertow.base import CueError, SettingsError
from undertow.refinement import ObjectCue, PointCue, segment_grabcut


@pytest.fixture(scope="module")
def image():
    """A red square and a blue disc on green noise."""
    random = np.random.default_rng(0)
    ground = np.array([60, 120, 60]) + random.normal(0, 12, (96, 128, 3))
    rows, columns = np.mgrid[:96, :128]
    ground[20:60, 15:50] = np.array([190, 50, 40]) + random.normal(0, 12, (40, 35, 3))
    ground[np.hypot(rows - 50, columns - 90) < 18] += (0, -60, 120)
    return ground.clip(0, 255).astype(np.uint8)


SQUARE, DISC = np.zeros((96, 128), bool), np.hypot(*(np.mgrid[:96, :128] - np.array([50, 90])[:, None, None])) < 18
SQUARE[20:60, 15:50] = True


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


def test_boxes(image):
    labels = segment_grabcut(image, [ObjectCue(3, box=(9, 14, 56, 66)), ObjectCue(7, box=(66, 26, 114, 74))])
    assert overlap(labels == 3, SQUARE) > 0.9 and overlap(labels == 7, DISC) > 0.9
    assert set(np.unique(labels)) == {0, 3, 7}


def test_points(image):
    inside = tuple(PointCue(x, y) for x, y in ((25, 30), (40, 50), (30, 40)))
    labels = segment_grabcut(image, [ObjectCue(1, points=(*inside, PointCue(90, 50, False)))])
    assert overlap(labels == 1, SQUARE) > 0.8


def test_a_point_beside_the_object_is_kept_out(image):
    box = (9, 14, 120, 80)
    both = segment_grabcut(image, [ObjectCue(1, box=box)])
    one = segment_grabcut(image, [ObjectCue(1, box=box, points=(PointCue(90, 50, False), PointCue(30, 40)))])
    assert one[50, 90] == 0 and one[40, 30] == 1 and (one > 0).sum() < (both > 0).sum()


def test_the_same_every_time(image):
    cue = [ObjectCue(1, box=(9, 14, 56, 66))]
    assert (segment_grabcut(image, cue) == segment_grabcut(image, cue)).all()


@pytest.mark.parametrize("box", [(0, 0, 0.2, 0.2), (200, 0, 300, 9), (9, 9, 5, 20)])
def test_useless_boxes(image, box):
    with pytest.raises(CueError):
        segment_grabcut(image, [ObjectCue(1, box=box)])


def test_an_object_under_another(image):
    box = (9, 14, 56, 66)
    with pytest.raises(CueError, match="object 1 lies under"):
        segment_grabcut(image, [ObjectCue(1, box=box), ObjectCue(2, box=box)])


def test_without_opencv(image, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SettingsError, match="pip install"):
        segment_grabcut(image, [ObjectCue(1, box=(9, 14, 56, 66))])
