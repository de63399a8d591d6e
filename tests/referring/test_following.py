"""Sentences about what things do: every candidate is tracked, and the one whose track does it is taken."""

from dataclasses import replace

import numpy as np
import pytest

from undertow.backbones import load
from undertow.base import CueError
from undertow.grounding import Asker, WordSettings, does
from undertow.grounding.asking import alike
from undertow.referring import ReferSettings
from undertow.referring.finding import find, pivot_frames
from undertow.referring.following import FRAMES, SAME, carried, followed
from undertow.referring.job import gather
from undertow.runs import read_cue
from undertow.tracking import track
from undertow.tracking.cues import numbered
from undertow.tracking.tracker import MaskTracker
from undertow.video import Clip, Video

SETTINGS = ReferSettings(tokens=60, batch=1, words=WordSettings(least=0))
SIZE, COUNT = (36, 64), 6


def drawn(frames, scale=1):
    """Two red squares on grey, of which the left one moves down."""
    images = np.full((frames, *SIZE, 3), 120, np.uint8)
    for number, image in enumerate(images):
        top = 4 + 18 * number // (frames - 1)
        image[top : top + 10, 8:18] = image[12:22, 44:54] = (220, 30, 30)
    return images.repeat(scale, 1).repeat(scale, 2)


@pytest.fixture(scope="module")
def asker():
    return Asker(load("tiny-refer", device="cpu"), SIZE, SETTINGS.words)


@pytest.fixture(scope="module")
def clip():
    return Clip(Video(drawn(COUNT)))


def found_in(clip, asker, text):
    return find(numbered([read_cue("text", text, clip)]), clip, asker, pivot_frames(clip, SETTINGS.pivots))[0]


@pytest.mark.parametrize("text", ["the red square that moves down", "the square that stands still"])
def test_the_best_track_as_tracking_everything_finds_it(clip, asker, tiny_like, text):
    finding = followed(found_in(clip, asker, text), clip, asker, MaskTracker(tiny_like, SETTINGS), SETTINGS.pivots)
    deed = "down" if "down" in text else "stay"
    images = {number: clip.frame(number).image for number in pivot_frames(clip, SETTINGS.pivots)}
    tracks = []
    for part in asker.parts(images, text, text.split(" that ")[0]):
        if any(alike(masks[part.frame], part.mask, SAME) for _, masks, _ in tracks):
            continue
        given = {part.frame: part.mask.astype(np.uint16)}
        masks = [each.labels == 1 for each in track(clip, given, tiny_like, SETTINGS)]
        tracks.append((part, masks, part.value + does(deed, masks, part.frame)))
    part, _, value = max(tracks[:8], key=lambda each: each[2])
    assert finding.frame == part.frame and np.array_equal(finding.sight.mask, part.mask)
    assert max(finding.looked.values()) == pytest.approx(value)
    # What is said of the sight is of that frame.
    assert finding.sight.contrast == float(part.heat.max())


def test_a_mask_is_carried_as_tracking_carries_it(clip, tiny_like):
    mask = np.zeros(SIZE, bool)
    mask[11:21, 8:18] = True
    frames, tracker = list(clip), MaskTracker(tiny_like, SETTINGS)
    features = [each for frame in frames for each in tracker.observe([frame])]
    masks = carried(tracker, frames, features, 2, mask)
    expected = track(clip, {2: mask.astype(np.uint16)}, tiny_like, SETTINGS)
    for mask, result in zip(masks, expected, strict=True):
        assert np.array_equal(mask, result.labels == 1)
    assert not tracker.ids


def test_a_long_clip_is_looked_at_here_and_there(asker, tiny_like):
    class Counting(MaskTracker):
        seen = 0

        def observe(self, frames):
            Counting.seen += len(frames)
            return super().observe(frames)

    clip = Clip(Video(drawn(40)))
    text = "the square that moves down"
    finding = followed(found_in(clip, asker, text), clip, asker, Counting(tiny_like, SETTINGS), SETTINGS.pivots)
    assert 0 < Counting.seen <= FRAMES and finding.frame in clip.numbers


@pytest.mark.parametrize(("text", "there"), [("the square that moves down", True), ("the square that moves up", False)])
def test_tracks_and_not_the_answer_decide_whether_it_is_there(clip, tiny_like, text, there):
    for least, found in ((0.0, True), (None, there), (0.9, there)):
        asker = Asker(load("tiny-refer", device="cpu"), SIZE, WordSettings(least=least))
        finding = found_in(clip, asker, text)
        for before in (True, False):
            seen = replace(finding, sight=replace(finding.sight, found=before))
            after = followed(seen, clip, asker, MaskTracker(tiny_like, SETTINGS), SETTINGS.pivots)
            assert after.present is found


def test_what_no_track_does_is_refused_as_other_things_are_that_are_not_there(clip, tiny_like):
    settings = replace(SETTINGS, words=WordSettings())
    texts = ("the square that moves up", "the square that moves down")
    given = gather([read_cue("text", text, clip) for text in texts], clip, lambda: tiny_like, settings)
    assert [each.present for each in given.value.findings] == [False, True]
    assert {2} == set(np.unique(np.stack(list(given.value.values())))) - {0}
    with pytest.raises(CueError, match="nothing that was named was found; use other words"):
        gather([read_cue("text", texts[0], clip)], clip, lambda: tiny_like, settings)


def test_large_frames_are_shrunk(tiny_like):
    sizes = []

    class Noting(MaskTracker):
        def observe(self, frames):
            sizes.extend(frame.image.shape[0] * frame.image.shape[1] for frame in frames)
            return super().observe(frames)

    text, found = "the red square that moves down", []
    for scale in (10, 20):
        clip, size = Clip(Video(drawn(COUNT, scale))), (SIZE[0] * scale, SIZE[1] * scale)
        asker = Asker(load("tiny-refer", device="cpu"), size, SETTINGS.words)
        finding = found_in(clip, asker, text)
        found.append(followed(finding, clip, asker, Noting(tiny_like, SETTINGS), SETTINGS.pivots))
        assert found[-1].sight.mask.shape == size
    assert sizes == [SIZE[0] * SIZE[1] * 100] * COUNT + [543 * 965] * COUNT
    (small, large), (one, other) = (each.sight.mask for each in found), found
    assert one.frame == other.frame and alike(small.repeat(2, 0).repeat(2, 1), large, 0.9)
    assert max(other.looked.values()) == pytest.approx(max(one.looked.values()), abs=0.05)


def test_other_sentences_and_settings_are_left_alone(clip, asker, tiny_like):
    finding = found_in(clip, asker, "the red square")
    tracker = MaskTracker(tiny_like, SETTINGS)
    assert followed(finding, clip, asker, tracker, SETTINGS.pivots) is finding
    cues = [read_cue("text", "the square that moves down", clip)]
    with_deeds, without = (
        gather(cues, clip, lambda: tiny_like, replace(SETTINGS, words=replace(SETTINGS.words, deeds=deeds)))
        for deeds in (True, False)
    )
    assert with_deeds.value.findings[0].sight.candidates[0].made_of.startswith("what does it")
    assert (
        without.value.findings[0].sight.candidates[0].made_of
        != with_deeds.value.findings[0].sight.candidates[0].made_of
    )
    # A text that names its frame is looked for there.
    cues = [read_cue("text", "the square that moves down@3", clip)]
    assert list(gather(cues, clip, lambda: tiny_like, SETTINGS).value) == [3]
