"""Boxes and points to label maps, and the cues that are refused."""

import sys

import numpy as np
import pytest
import torch

from undertow.base import CueError, SettingsError
from undertow.refinement import Embedding, Fit, ObjectCue, OneFrame, PointCue, Prediction, segment, segment_grabcut

IMAGE = np.zeros((60, 100, 3), np.uint8)
INSIDE = PointCue(30, 20)


class Boxes:
    """A segmenter that fills boxes and squares around points; larger answers have lower scores."""

    def __init__(self):
        self.asked = []

    def embed(self, images):
        return [Embedding((), Fit.padded(images.shape[1:3], 400, 200)) for _ in images]

    def predict(self, embedding, *, points=None, labels=None, boxes=None, masks=None, multimask=False):
        self.asked.append((points, labels, boxes, multimask))
        rows, columns = embedding.fit.grid
        x0, y0, x1, y1 = boxes[0].tolist() if boxes is not None else (points[0, 0].repeat(2) + PAD).tolist()
        y = ((torch.arange(rows) + 0.5) * 60 / rows)[:, None]
        x = ((torch.arange(columns) + 0.5) * 100 / columns)[None]
        inside = (x > x0) & (x < x1) & (y > y0) & (y < y1)
        answer = torch.where(inside, 5.0, -5.0)[None, None]
        score = torch.tensor([[1 - float(inside.float().mean())]])
        if multimask:
            answer = torch.cat([-answer.abs(), answer, answer.abs()], 1)
            score = torch.cat([score - 0.5, score, score - 0.2], 1)
        return Prediction(answer, score)


PAD = torch.tensor([-5.0, -5.0, 5.0, 5.0])


def test_boxes_and_points_become_a_label_map():
    segmenter = Boxes()
    cues = [ObjectCue(7, box=(10, 5, 60, 50)), ObjectCue(2, points=(PointCue(50, 30),))]
    labels = segment(segmenter, IMAGE, cues)
    assert labels.dtype == np.uint16 and labels.shape == (60, 100)
    # The smaller one has the higher score and keeps what both claim.
    assert (labels[25:35, 45:55] == 2).all() and (labels == 2).sum() == 100
    assert (labels == 7).sum() == 50 * 45 - 100 and labels[6, 11] == 7 and labels[4, 11] == 0
    # A single click is ambiguous, a box is not.
    assert [multimask for *_, multimask in segmenter.asked] == [False, True]


def test_a_frame_is_embedded_once_however_many_prompts_come_for_it():
    kept = OneFrame(Boxes())
    (first,), (again,) = kept.embed(IMAGE[None]), kept.embed(IMAGE[None].copy())
    (other,) = kept.embed(IMAGE[None] + 1)
    (turned,) = kept.embed(IMAGE.transpose(1, 0, 2)[None])
    assert first is again and other is not first and turned.fit != first.fit
    cues = [ObjectCue(1, box=(10, 5, 60, 50))]
    assert np.array_equal(segment(kept, IMAGE, cues), segment(Boxes(), IMAGE, cues))


def test_points_with_a_box_and_outside():
    segmenter = Boxes()
    cue = ObjectCue(1, box=(10, 5, 60, 50), points=(INSIDE, PointCue(55, 45, inside=False)))
    segment(segmenter, IMAGE, [cue])
    points, labels, boxes, multimask = segmenter.asked[0]
    assert points.tolist() == [[[30, 20], [55, 45]]] and labels.tolist() == [[1, 0]]
    assert boxes.tolist() == [[10, 5, 60, 50]] and not multimask


@pytest.mark.parametrize(
    ("cues", "words"),
    [
        ([], "no box or point was given"),
        ([ObjectCue(1)], "neither box nor points"),
        ([ObjectCue(0, points=(INSIDE,))], "object id 0"),
        ([ObjectCue(65535, points=(INSIDE,))], "object id 65535"),
        ([ObjectCue(1, points=(INSIDE,)), ObjectCue(1, box=(0, 0, 5, 5))], "two cues"),
        ([ObjectCue(1, points=(INSIDE, PointCue(30, 20, False)))], "in object 1 and outside it; leave one out"),
        ([ObjectCue(1, points=(PointCue(101, 20),))], "point 101,20 is outside the frame of 100x60"),
        ([ObjectCue(1, points=(PointCue(-1, 20),))], "point -1,20 is outside"),
        ([ObjectCue(1, points=(PointCue(5, 60.5),))], "outside the frame"),
        ([ObjectCue(1, points=(PointCue(float("nan"), 20),))], "point nan,20 is not a place"),
        ([ObjectCue(1, points=(PointCue(float("inf"), 20),))], "not a place"),
        ([ObjectCue(1, points=(PointCue(5, 5, inside=False),))], "only points outside"),
        ([ObjectCue(1, box=(10, 5, 10, 50))], "box 10,5,10,50 is empty"),
        ([ObjectCue(1, box=(60, 5, 10, 50))], "is empty"),
        ([ObjectCue(1, box=(10, 5, 101, 50))], "extends beyond the frame of 100x60"),
        ([ObjectCue(1, box=(-3, 5, 60, 50))], "extends beyond"),
        ([ObjectCue(1, box=(10, float("nan"), 60, 50))], "box 10,nan,60,50 is not a box"),
        ([ObjectCue(1, box=(10.1, 10.1, 10.2, 10.2))], "nothing was found at box"),
        ([ObjectCue(1, box=(10, 10, 20, 20)), ObjectCue(2, box=(10, 10, 20, 20))], "under the masks of others"),
    ],
)
def test_cues_that_are_refused(cues, words):
    with pytest.raises(CueError, match=words) as caught:
        segment(Boxes(), IMAGE, cues)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_real_networks_answer(name, segmenters, frames):
    cues = [ObjectCue(4, box=(10, 5, 60, 50)), ObjectCue(9, points=(PointCue(0, 0), PointCue(100, 60, inside=False)))]
    try:
        labels = segment(segmenters[name], frames[0], cues)
    except CueError as error:  # weights are random: what is found may be nothing
        assert "was found" in str(error) or "under the masks" in str(error)
    else:
        assert labels.shape == (60, 100) and {4, 9} <= set(np.unique(labels))


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


def test_a_large_picture_gives_the_mask_of_the_small_one(image):
    large = image.repeat(6, 0).repeat(6, 1)
    labels = segment_grabcut(large, [ObjectCue(3, box=(54, 84, 336, 396))])
    assert labels.shape == (576, 768) and overlap(labels == 3, SQUARE.repeat(6, 0).repeat(6, 1)) > 0.9


def test_where_colours_tell_nothing_apart_the_inside_of_a_box_is_taken():
    plain = np.full((90, 120, 3), 128, np.uint8)
    found = segment_grabcut(plain, [ObjectCue(1, box=(20, 10, 100, 80))]) == 1
    assert found[35:55, 50:70].all() and not found[:10].any() and not found[:, :20].any()


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
