"""Masks that are carried both ways: to the frames before them, and between two of one object."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from undertow.base import SilentProgress
from undertow.masks import object_ids, read_written_map
from undertow.runs import execute
from undertow.runs.plan import Plan
from undertow.tracking import MaskTracker, TrackSettings, backward, track
from undertow.tracking.cues import given_masks
from undertow.tracking.results import Tracked
from undertow.tracking.task import TASK
from undertow.video import Clip, Video
from undertow.world import crossing_scene

FRAMES = 11
FAST = TrackSettings(preset="drift", tokens=240, batch=2)
FORWARD = replace(FAST, direction="forward")


@pytest.fixture(scope="module")
def scene():
    drawn = crossing_scene(height=48, width=80, frames=24)
    pictures = [drawn.picture(float(index)) for index in range(FRAMES)]
    return np.stack([picture.image for picture in pictures]), [picture.labels for picture in pictures]


def only(labels, *ids):
    return np.where(np.isin(labels, ids), labels, 0).astype(np.uint16)


def same(one, other):
    return (one.labels == other.labels).all() and one.scores == other.scores


def test_a_mask_of_the_last_frame_goes_back_as_one_of_the_first_goes_on(scene, tiny_like):
    images, truth = scene
    back = list(track(images, {FRAMES - 1: truth[-1]}, tiny_like, FAST))
    on = list(track(images[::-1].copy(), truth[-1], tiny_like, FORWARD))
    assert [result.index for result in back] == list(range(FRAMES))
    assert all(same(*each) for each in zip(back, on[::-1], strict=True))


def test_a_mask_between_goes_both_ways(scene, tiny_like):
    images, truth = scene
    both = list(track(Clip(Video(images), 1, None, 2), {5: truth[5]}, tiny_like, FAST))
    back = list(track(images[5::-2].copy(), truth[5], tiny_like, FORWARD))
    on = list(track(images[5::2].copy(), truth[5], tiny_like, replace(FORWARD, batch=1)))
    assert [result.index for result in both] == [1, 3, 5, 7, 9]
    assert all(same(*each) for each in zip(both[:3], back[::-1], strict=True))
    # The batches that the frames after it fall into are other ones.
    assert all((one.labels != other.labels).mean() < 0.01 for one, other in zip(both[2:], on, strict=True))


def test_between_two_masks_both_passes_count(scene, tiny_like):
    images, truth = scene
    end = FRAMES - 1

    def overlaps(results):
        pairs = [(result.labels, truth[result.index]) for result in results]
        inside = [[((a == n) & (b == n)).sum() / ((a == n) | (b == n)).sum() for n in (1, 2)] for a, b in pairs]
        return np.mean(inside, axis=1)

    merged = overlaps(track(images, {0: truth[0], end: truth[end]}, tiny_like, FAST))
    forward = overlaps(track(images, {0: truth[0], end: truth[end]}, tiny_like, FORWARD))
    backward = overlaps(track(images[::-1].copy(), truth[end], tiny_like, FORWARD))[::-1]
    assert merged[0] == merged[end] == 1
    # Each pass is worst where the other is best.
    assert forward[1] > forward[end - 1] and backward[1] < backward[end - 1]
    assert merged[1:end].mean() > max(forward[1:end].mean(), backward[1:end].mean())


def test_objects_have_masks_of_their_own(scene, tiny_like):
    images, truth = scene
    masks = {0: only(truth[0], 1), 4: only(truth[4], 2), 8: only(truth[8], 1)}
    results = list(track(images, masks, tiny_like, FAST))
    assert all(set(result.scores) == {1, 2} for result in results)
    for frame, mask in masks.items():
        (number,) = object_ids(mask)
        assert ((results[frame].labels == number) == (mask == number)).all()
        assert results[frame].scores[number].presence == 1 and not results[frame].scores[number].lost
    for result in results:
        areas = {number: int((result.labels == number).sum()) for number in (1, 2)}
        assert {number: score.area for number, score in result.scores.items()} == areas
    # After its last mask an object is carried forward, before its first backward.
    assert 2 not in results[10].scores or results[2].scores[2].area > 0


def test_a_pass_that_has_lost_an_object_has_no_say_in_it(scene, tiny_like):
    images, truth = scene
    clip, masks = Clip(Video(images)), {0: truth[0], 10: truth[10]}
    passed = backward.BackwardPass(MaskTracker(tiny_like, FAST), masks, clip)
    assert passed.run(None, SilentProgress())
    alone = list(track(images, {10: truth[10]}, tiny_like, FAST))[2]
    going_on = MaskTracker(tiny_like, FORWARD)
    for index in range(3):
        result = going_on.step(images[index], truth[0] if index == 0 else None)
    lost = replace(result.scores[1], presence=0.0, lost=True)
    result = replace(result, scores={1: lost, 2: result.scores[2]})
    merged = passed.merged(Tracked(clip.frame(2), result, going_on.soft, (1, 2)))
    kept = load_file(next(Path(passed._store._temporary.name).glob("2.safetensors")))["soft"]
    passed.close()
    assert (merged.soft[1] == kept[1]).all() and not (merged.soft[2] == kept[2]).all()
    assert merged.result.scores[1].presence == alone.scores[1].presence and not merged.result.scores[1].lost


class Stages(SilentProgress):
    """Counts the frames of every stage, and interrupts at one of them."""

    def __init__(self, stage="", frame=-1):
        self.frames, self._stage, self._stop = Counter(), "", (stage, frame)

    def start(self, stage, total):
        self._stage = stage

    def advance(self, units=1, **facts):
        self.frames[self._stage] += "frame" in facts
        if (self._stage, facts.get("frame")) == self._stop:
            raise KeyboardInterrupt


def run(out, images, masks, backbone, settings=FAST, **options):
    video = images if isinstance(images, Video) else Video(images)
    return execute(TASK, out, video, given_masks(video, masks), backbone, settings, **options).path


def contents(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("direction", ["both", "forward"])
def test_masks_of_the_first_frame_alone_take_one_pass(scene, tiny_like, tmp_path, monkeypatch, direction):
    images, truth = scene
    seen, observe = [], MaskTracker.observe
    monkeypatch.setattr(MaskTracker, "observe", lambda self, frames: seen.extend(frames) or observe(self, frames))
    stages = Stages()
    run(tmp_path / "out", images, {0: truth[0]}, tiny_like, replace(FAST, direction=direction), progress=stages)
    assert len(seen) == FRAMES and stages.frames == {"track": FRAMES}
    assert not (tmp_path / "out" / "backward").exists()


STOPS = [("backward", 8), ("backward", 5), ("backward", 0), ("track", 3), ("track", 9)]


@pytest.mark.parametrize(("stage", "frame"), STOPS)
def test_an_interrupted_run_becomes_what_it_would_have_been(scene, tiny_like, tmp_path, monkeypatch, stage, frame):
    monkeypatch.setattr(backward, "STATE_SECONDS", 0)
    images, truth = scene
    masks, out = {3: only(truth[3], 1), 8: truth[8]}, tmp_path / "out"
    run(tmp_path / "whole", images, masks, tiny_like)
    with pytest.raises(KeyboardInterrupt):
        run(out, images, masks, tiny_like, progress=Stages(stage, frame), state_seconds=0)
    assert (out / "backward" / "state.safetensors").exists() == (frame != 8)
    stages = Stages()
    run(out, images, masks, tiny_like, progress=stages)
    assert contents(out) == contents(tmp_path / "whole")
    # The nine frames up to the last mask are done from the back, and not again if they have been.
    assert stages.frames["backward"] == ({8: 9, 5: 7, 0: 1}[frame] if stage == "backward" else 0)


def test_a_pass_whose_files_are_damaged_is_made_again(scene, tiny_like, tmp_path, monkeypatch):
    monkeypatch.setattr(backward, "STATE_SECONDS", 0)
    images, truth = scene
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(out, images, {8: truth[8]}, tiny_like, progress=Stages("backward", 2))
    (out / "backward" / "7.safetensors").write_bytes(b"no tensors")
    stages = Stages()
    run(out, images, {8: truth[8]}, tiny_like, progress=stages)
    assert stages.frames["backward"] == 9
    assert read_written_map(out / "masks" / "00000.png").any()


def test_a_stream_goes_forward_and_says_so(scene, tiny_like, tmp_path, caplog):
    images, truth = scene
    out = run(tmp_path / "out", Video(iter(images)), {4: truth[4]}, tiny_like)
    assert [r.message for r in caplog.records if "forward only" in r.message] == [
        "the stream comes once, so masks are carried forward only: an object is not on frames before its first mask"
    ]
    assert not read_written_map(out / "masks" / "00003.png").any()
    caplog.clear()
    run(tmp_path / "first", Video(iter(images)), {0: truth[0]}, tiny_like)
    run(tmp_path / "asked", Video(iter(images)), {4: truth[4]}, tiny_like, FORWARD)
    assert "forward only" not in caplog.text


def test_the_estimate_has_the_backward_pass(scene, tiny_like):
    images, truth = scene
    clip = Clip(Video(images))

    def work(masks, settings):
        return Plan.of(TASK, clip, given_masks(clip, masks), tiny_like, settings).work

    once, twice = work({0: truth[0]}, FAST), work({0: truth[0], 5: truth[5]}, FAST)
    assert [phase.name for phase in twice.phases] == ["backward", *(phase.name for phase in once.phases)]
    passes = [sum(phase.passes for phase in each.phases) for each in (once, twice)]
    assert passes[1] / passes[0] == pytest.approx(1 + 6 / FRAMES) == pytest.approx(twice.visits)
    assert once.visits == 1 and work({5: truth[5]}, FORWARD).visits == 1
