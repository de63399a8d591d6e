"""Boxes and points to label maps, and the cues that are refused."""

import numpy as np
import pytest
import torch

from undertow.base import CueError
from undertow.refinement import Embedding, Fit, ObjectCue, PointCue, Prediction, segment

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
        ([ObjectCue(1, points=(PointCue(101, 20),))], "point 101,20 is outside the frame of 100x60"),
        ([ObjectCue(1, points=(PointCue(-1, 20),))], "point -1,20 is outside"),
        ([ObjectCue(1, points=(PointCue(5, 60.5),))], "outside the frame"),
        ([ObjectCue(1, points=(PointCue(float("nan"), 20),))], "point nan,20 is not a place"),
        ([ObjectCue(1, points=(PointCue(float("inf"), 20),))], "not a place"),
        ([ObjectCue(1, points=(PointCue(5, 5, inside=False),))], "only points outside"),
        ([ObjectCue(1, box=(10, 5, 10, 50))], "box 10,5,10,50 is empty"),
        ([ObjectCue(1, box=(60, 5, 10, 50))], "is empty"),
        ([ObjectCue(1, box=(10, 5, 101, 50))], "reaches out of the frame of 100x60"),
        ([ObjectCue(1, box=(-3, 5, 60, 50))], "reaches out"),
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
