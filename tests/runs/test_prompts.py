"""Boxes and points as they are typed, and the masks made of them."""

from functools import partial

import numpy as np
import pytest

from undertow.base import CueError
from undertow.refinement import PointCue, SamSegmenter, segment
from undertow.runs import Prompt, WordPrompt, parse_box, parse_point, parse_words, prompted_masks, worded_masks
from undertow.runs.prompts import gather
from undertow.training.segmenter_network import SegmenterShape, build_segmenter
from undertow.video import Clip, Video


@pytest.fixture(scope="module")
def video():
    random = np.random.default_rng(0)
    return Video(random.integers(0, 255, (6, 48, 64, 3), np.uint8), fps=2)


@pytest.fixture(scope="module")
def segmenter():
    """Real classes with random weights: what it finds means nothing, the way there is the same."""
    shape = SegmenterShape(64, patch_size=8, width=16, layers=2, heads=2, everywhere=(1,), window=4, channels=16)
    return SamSegmenter(build_segmenter(0, shape).eval())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,30,40", Prompt(0, None, box=(1, 2, 30, 40))),
        ("1.5,2,30,.5@3", Prompt(3, None, box=(1.5, 2, 30, 0.5))),
        ("1,2,30,40@1.5s#7", Prompt(3, 7, box=(1, 2, 30, 40))),
        ("1,2,30,40#7", Prompt(0, 7, box=(1, 2, 30, 40))),
    ],
)
def test_boxes(video, text, expected):
    assert parse_box(text, video) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5,6", Prompt(0, None, point=PointCue(5, 6))),
        ("5,6,+", Prompt(0, None, point=PointCue(5, 6))),
        ("5,6,-@2#3", Prompt(2, 3, point=PointCue(5, 6, False))),
    ],
)
def test_points(video, text, expected):
    assert parse_point(text, video) == expected


def test_the_first_frame_of_a_clip_is_meant(video):
    assert parse_point("5,6", Clip(video, 2)).frame == 2


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "nan,0,1,1", "1;2;3;4", "1,2,3,4#x", "1,2,3,4@@1"]
)
def test_what_is_no_box_is_refused(video, text):
    with pytest.raises(CueError):
        parse_box(text, video)


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "1,2,*", "inf,0", "1,2#"])
def test_what_is_no_point_is_refused(video, text):
    with pytest.raises(CueError):
        parse_point(text, video)


def test_no_such_frame(video):
    with pytest.raises(CueError, match="99"):
        parse_box("1,2,30,40@99", video)


def test_boxes_are_objects_of_their_own_and_points_are_of_the_first():
    boxes = [Prompt(0, None, box=(0, 0, 9, 9)), Prompt(0, None, box=(9, 9, 20, 20))]
    assert [(cue.object_id, cue.box) for cue in gather(boxes)[0]] == [(1, (0, 0, 9, 9)), (2, (9, 9, 20, 20))]
    points = [Prompt(0, None, point=PointCue(1, 1)), Prompt(0, None, point=PointCue(2, 2, False))]
    (cue,) = gather(points)[0]
    assert cue.object_id == 1 and len(cue.points) == 2
    # The points are object 1, so the box is another.
    assert {cue.object_id for cue in gather([points[0], boxes[0]])[0]} == {1, 2}
    named = [Prompt(0, 1, box=(0, 0, 9, 9)), Prompt(0, None, box=(9, 9, 20, 20)), Prompt(4, 1, point=PointCue(3, 3))]
    assert {frame: [cue.object_id for cue in cues] for frame, cues in gather(named).items()} == {0: [1, 2], 4: [1]}
    with pytest.raises(CueError, match="object 3 has two boxes on frame 0"):
        gather([Prompt(0, 3, box=(0, 0, 9, 9)), Prompt(0, 3, box=(1, 1, 9, 9))])


def test_masks_are_made_on_every_frame_that_is_named(video, segmenter):
    prompts = [Prompt(3, 2, point=PointCue(20, 20)), Prompt(0, 1, box=(5, 5, 40, 40))]
    masks = prompted_masks(prompts, video, lambda: partial(segment, segmenter))
    assert sorted(masks) == [0, 3] and set(np.unique(masks[0])) <= {0, 1} and set(np.unique(masks[3])) <= {0, 2}
    assert all(labels.shape == (48, 64) for labels in masks.values())


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(2, 1, point=PointCue(64.5, 2)), "on frame 2: point 64.5,2 is outside"),
        (Prompt(0, 1, box=(9, 9, 9, 20)), "is empty"),
        (Prompt(0, 1, box=(0, 0, 99, 20)), "reaches out of the frame"),
        (Prompt(0, 0, box=(0, 0, 9, 9)), "object id 0"),
        (Prompt(0, 1, point=PointCue(2, 2, False)), "only points outside"),
    ],
)
def test_useless_prompts_are_refused_before_anything_is_loaded(video, prompt, message):
    with pytest.raises(CueError, match=message):
        prompted_masks([prompt], video, lambda: pytest.fail("loaded"))


def test_a_stream_is_refused():
    stream = Video(iter([np.zeros((48, 64, 3), np.uint8)]))
    with pytest.raises(CueError, match="read again"):
        prompted_masks([Prompt(0, 1, point=PointCue(2, 2))], stream, lambda: pytest.fail("loaded"))


def test_words_are_objects_of_their_own_in_order(video):
    assert parse_words(["disc", "red star@2", "blob#1"], video) == [
        WordPrompt(0, 2, "disc"),
        WordPrompt(2, 3, "red star"),
        WordPrompt(0, 1, "blob"),
    ]
    for texts, message in (
        (["7"], "give a word"),
        (["disc@99"], "cannot be used"),
        (["a#1", "b#1"], "object 1 has two words"),
        (["a#0"], "give 1 to"),
    ):
        with pytest.raises(CueError, match=message):
            parse_words(texts, video)


def test_a_pixel_goes_to_the_first_word_that_claims_it(video):
    def find(image, word):
        found = np.zeros(image.shape[:2], np.uint16)
        found[:, : {"left": 32, "most": 48, "none": 0}[word]] = 1
        return found

    prompts = [WordPrompt(0, 1, "left"), WordPrompt(0, 5, "most"), WordPrompt(3, 2, "left")]
    masks = worded_masks(prompts, video, find)
    assert set(masks) == {0, 3} and masks[0].dtype == np.uint16 and masks[0].shape == (48, 64)
    assert [np.unique(masks[0][:, columns]).tolist() for columns in (slice(32), slice(32, 48), slice(48, 64))] == [
        [1], [5], [0],
    ]  # fmt: skip
    with pytest.raises(CueError, match="on frame 0: 'left' lies under"):
        worded_masks([WordPrompt(0, 1, "most"), WordPrompt(0, 2, "left")], video, find)
