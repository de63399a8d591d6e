"""Refined masks: given masks stay as they were, nothing is fed back, and an interruption changes nothing."""

from dataclasses import replace

import numpy as np
import pytest

from undertow.masks import object_ids
from undertow.refinement import SamSegmenter, SamSettings
from undertow.tracking import CrfRefiner, GuidedRefiner, MaskTracker, SegmenterRefiner, TrackSettings, propagate, track
from undertow.training.segmenter_network import SegmenterShape, build_segmenter
from undertow.video import Video
from undertow.world import crossing_scene

FAST = TrackSettings(tokens=240, batch=2)
FRAMES = 6


@pytest.fixture(scope="module")
def scene():
    drawn = crossing_scene(height=48, width=80, frames=24)
    pictures = [drawn.picture(float(index)) for index in range(FRAMES)]
    return np.stack([picture.image for picture in pictures]), [picture.labels for picture in pictures]


def refiners():
    shape = SegmenterShape(64, patch_size=8, width=16, layers=2, heads=2, everywhere=(1,), window=4, channels=16)
    segmenter = SamSegmenter(build_segmenter(0, shape).eval())
    return [
        GuidedRefiner(),
        CrfRefiner(),
        SegmenterRefiner(segmenter, "random", SamSettings(prompts=3, minimum_score=0.0)),
    ]


@pytest.mark.parametrize("refiner", refiners(), ids=lambda each: type(each).__name__)
def test_only_what_was_tracked_is_refined(scene, tiny_like, refiner):
    images, truth = scene
    # The second object joins within a batch, and the first is not named then.
    first, second = (
        np.where(truth[frame] == number, number, 0).astype(np.uint16) for frame, number in ((0, 1), (3, 2))
    )
    masks = {0: first, 3: second}
    forward = replace(FAST, direction="forward")
    plain = list(track(Video(images), masks, tiny_like, forward))
    refined = list(track(Video(images), masks, tiny_like, forward, refiner=refiner))
    assert [result.index for result in refined] == list(range(FRAMES))
    assert (refined[0].labels == first).all() and ((refined[3].labels == 2) == (second == 2)).all()
    assert any((one.labels != other.labels).any() for one, other in zip(plain, refined, strict=True))
    for one, other in zip(plain, refined, strict=True):
        assert set(object_ids(other.labels)) <= {1, 2}
        for number, score in other.scores.items():
            # Nothing is fed back: all that propagation says stays.
            assert score.area == (other.labels == number).sum()
            assert (score.margin, score.mass) == (one.scores[number].margin, one.scores[number].mass)
    assert refiner.facts()["refine"] in ("guided", "crf", "sam")


def test_a_restored_tracker_refines_the_same(scene, tiny_like):
    images, truth = scene
    video, masks = Video(images), {0: truth[0]}
    whole = [result.labels for _, result in propagate(video, masks, MaskTracker(tiny_like, FAST), GuidedRefiner())]
    tracker = MaskTracker(tiny_like, FAST)
    parts = [result.labels for _, result in propagate(video.frames(range(4)), masks, tracker, GuidedRefiner())]
    later = MaskTracker(tiny_like, FAST)
    later.restore(tracker.state())
    parts += [result.labels for _, result in propagate(video.frames(range(4, 6)), masks, later, GuidedRefiner())]
    assert all((one == other).all() for one, other in zip(whole, parts, strict=True))


def test_what_feeds_back_is_what_later_frames_are_tracked_from(scene, tiny_like):
    images, truth = scene
    video, masks = Video(images), {0: truth[0]}
    quiet = refiners()[-1]
    loud = SegmenterRefiner(quiet.segmenter, quiet.name, SamSettings(prompts=3, minimum_score=0.0, feed_back=True))
    assert loud.feeds_back and not quiet.feeds_back and not GuidedRefiner().feeds_back
    one = replace(FAST, batch=1, lost="keep")
    fed = [result for _, result in propagate(video, masks, MaskTracker(tiny_like, one), loud)]
    apart = [result for _, result in propagate(video, masks, MaskTracker(tiny_like, one), quiet)]
    assert any((a.labels != b.labels).any() for a, b in zip(fed, apart, strict=True))
    # The third frame, by a tracker that is told the refined maps of the frames before.
    told = MaskTracker(tiny_like, one)
    frames = list(video)
    for frame in frames[:3]:
        (features,) = told.observe([frame])
        last = told.advance(frame, features, masks.get(frame.index))
        told.teach(fed[frame.index].labels)
    for number, score in last.scores.items():
        assert (score.margin, score.mass) == (fed[2].scores[number].margin, fed[2].scores[number].mass)
