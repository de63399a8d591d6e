"""Sentences about what things do: every candidate is tracked, and the one whose track does it is taken."""

from dataclasses import replace

import numpy as np
import pytest

from undertow.backbones import load
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


def drawn(frames):
    """Two red squares on grey, of which the left one moves down."""
    images = np.full((frames, *SIZE, 3), 120, np.uint8)
    for number, image in enumerate(images):
        top = 4 + 18 * number // (frames - 1)
        image[top : top + 10, 8:18] = image[12:22, 44:54] = (220, 30, 30)
    return images


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
        tracks.append((part, masks, part.value + does(deed, masks)))
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
