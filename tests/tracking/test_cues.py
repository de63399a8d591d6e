"""Masks made of boxes, points and words."""

import logging
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import undertow.tracking.cues as cues
from undertow.backbones.weights.locating import embedded_folder
from undertow.base import CueError, SettingsError
from undertow.masks import write_label_map
from undertow.refinement import SamSegmenter, get_segmenter_card, segment, segment_grabcut
from undertow.runs import Cue, read_cue
from undertow.tracking import TrackSettings
from undertow.tracking.cues import gather, numbered, object_cues, prompted_masks, prompter, worded_masks
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


def test_mattes_are_kept_soft(video, tmp_path):
    alpha = np.zeros((48, 64), np.uint8)
    alpha[10:30, 12:41] = 255
    alpha[30, 12:41] = alpha[10:31, 41] = 90
    Image.fromarray(alpha).save(tmp_path / "matte.png")
    cue = read_cue("mask", f"{tmp_path / 'matte.png'}@2", Clip(video))
    given = gather([cue], Clip(video), lambda: None, TrackSettings(soft=True))
    assert given.frames == (2,) and np.array_equal(given.value[2].cover[1], alpha)
    with pytest.raises(SettingsError, match="leave mask_colors and mask_threshold out"):
        TrackSettings(soft=True, mask_threshold=128)


def test_boxes_are_objects_of_their_own_and_points_are_of_the_first():
    boxes = [Cue("box", (0, 0, 9, 9), 0, None), Cue("box", (9, 9, 20, 20), 0, None)]
    assert [(cue.object_id, cue.box) for cue in object_cues(boxes)[0]] == [(1, (0, 0, 9, 9)), (2, (9, 9, 20, 20))]
    points = [Cue("point", (1, 1, True), 0, None), Cue("point", (2, 2, False), 0, None)]
    (cue,) = object_cues(points)[0]
    assert cue.object_id == 1 and len(cue.points) == 2
    # The points are object 1, so the box is another.
    assert {cue.object_id for cue in object_cues([points[0], boxes[0]])[0]} == {1, 2}
    named = [Cue("box", (0, 0, 9, 9), 0, 1), Cue("box", (9, 9, 20, 20), 0, None), Cue("point", (3, 3, True), 4, 1)]
    assert {frame: [cue.object_id for cue in cues] for frame, cues in object_cues(named).items()} == {0: [1, 2], 4: [1]}
    with pytest.raises(CueError, match="object 3 has two boxes on frame 0"):
        object_cues([Cue("box", (0, 0, 9, 9), 0, 3), Cue("box", (1, 1, 9, 9), 0, 3)])


def test_masks_are_made_on_every_frame_that_is_named(video, segmenter):
    prompts = [Cue("point", (20, 20, True), 3, 2), Cue("box", (5, 5, 40, 40), 0, 1)]
    masks = prompted_masks(prompts, video, lambda: partial(segment, segmenter))
    assert sorted(masks) == [0, 3] and set(np.unique(masks[0])) <= {0, 1} and set(np.unique(masks[3])) <= {0, 2}
    assert all(labels.shape == (48, 64) for labels in masks.values())


def test_a_segmenter_that_only_refines_leaves_boxes_to_grabcut():
    def model():
        return SimpleNamespace(device="cpu")

    assert prompter(TrackSettings(), model) is segment_grabcut
    assert prompter(TrackSettings(refine="sam", segmenter="tiny-sam"), model) is segment_grabcut
    folder = str(embedded_folder(get_segmenter_card("tiny-sam")))
    assert prompter(TrackSettings(segmenter=f"tiny-sam={folder}"), model) is segment_grabcut
    # As a folder without its name it is a SAM like any other.
    assert prompter(TrackSettings(segmenter=folder), model) is not segment_grabcut


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Cue("point", (64.5, 2, True), 2, 1), "on frame 2: point 64.5,2 is outside"),
        (Cue("box", (9, 9, 9, 20), 0, 1), "is empty"),
        (Cue("box", (0, 0, 99, 20), 0, 1), "extends beyond the frame"),
        (Cue("box", (0, 0, 9, 9), 0, 0), "object id 0"),
        (Cue("point", (2, 2, False), 0, 1), "only points outside"),
    ],
)
def test_useless_prompts_are_refused_before_anything_is_loaded(video, prompt, message):
    with pytest.raises(CueError, match=message):
        prompted_masks([prompt], video, lambda: pytest.fail("loaded"))


def test_a_stream_is_refused():
    stream = Video(iter([np.zeros((48, 64, 3), np.uint8)]))
    with pytest.raises(CueError, match="read again"):
        prompted_masks([Cue("point", (2, 2, True), 0, 1)], stream, lambda: pytest.fail("loaded"))


def test_words_are_objects_of_their_own_in_order(video):
    words = [read_cue("text", text, video) for text in ("disc", "red star@2", "blob#1")]
    assert [(cue.value, cue.frame, cue.object_id) for cue in numbered(words)] == [
        ("disc", 0, 2),
        ("red star", 2, 3),
        ("blob", 0, 1),
    ]
    for texts, message in ((["a#1", "b#1"], "object 1 has two words"), (["a#0"], "give 1 to")):
        with pytest.raises(CueError, match=message):
            numbered([read_cue("text", text, video) for text in texts])


def test_each_frame_is_said_to_show_the_words_that_were_asked_of_it(video, monkeypatch, caplog):
    everywhere = lambda image, word: np.ones(image.shape[:2], np.uint16)  # noqa: E731
    monkeypatch.setattr(cues, "_finder", lambda *_: everywhere)
    words = [read_cue("text", text, video) for text in ("disc", "red star@2")]
    with caplog.at_level(logging.INFO):
        gather(words, Clip(video), lambda: None, TrackSettings())
    told = [record.getMessage().split(" is object")[0] for record in caplog.records]
    assert told == ["frame 0: disc", "frame 2: red star"]


def test_a_pixel_goes_to_the_first_word_that_claims_it(video):
    def find(image, word):
        found = np.zeros(image.shape[:2], np.uint16)
        found[:, : {"left": 32, "most": 48, "none": 0}[word]] = 1
        return found

    prompts = [Cue("text", "left", 0, 1), Cue("text", "most", 0, 5), Cue("text", "left", 3, 2)]
    masks = worded_masks(prompts, video, find)
    assert set(masks) == {0, 3} and masks[0].dtype == np.uint16 and masks[0].shape == (48, 64)
    assert [np.unique(masks[0][:, columns]).tolist() for columns in (slice(32), slice(32, 48), slice(48, 64))] == [
        [1], [5], [0],
    ]  # fmt: skip
    with pytest.raises(CueError, match="on frame 0: 'left' lies under"):
        worded_masks([Cue("text", "most", 0, 1), Cue("text", "left", 0, 2)], video, find)


def test_cues_of_all_kinds_become_masks_with_the_log_of_what_was_typed(tmp_path):
    labels = np.zeros((48, 64), np.uint16)
    labels[5:20, 5:20] = 4
    write_label_map(tmp_path / "first.png", labels)
    images = np.full((6, 48, 64, 3), 200, np.uint8)
    images[:, 10:30, 10:30] = (200, 20, 20)
    video = Video(images, fps=2)
    typed = [read_cue("mask", str(tmp_path / "first.png"), video), read_cue("box", "5,5,40,40@3#2", video)]
    given = gather(typed, Clip(video), lambda: pytest.fail("loaded"), TrackSettings())
    assert given.frames == (0, 3) and (given.value[0] == labels).all() and set(np.unique(given.value[3])) == {0, 2}
    assert given.log[:2] == ({"mask": typed[0].typed}, {"box": "5,5,40,40@3#2"})
    assert [entry["frame"] for entry in given.log[2:]] == [0, 3]
    for more, message in (("box", "frame 0 has a mask, and boxes"), ("text", "frame 0 has a word, and a mask")):
        with pytest.raises(CueError, match=message):
            again = read_cue(more, {"box": "1,1,20,20", "text": "disc"}[more], video)
            gather([*typed, again], Clip(video), lambda: pytest.fail("loaded"), TrackSettings())
    with pytest.raises(CueError, match="no mask was given"):
        gather([], Clip(video), lambda: pytest.fail("loaded"), TrackSettings())
