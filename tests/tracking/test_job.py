"""Runs that are interrupted and go on, whole and partial, from files and from streams."""

import json
from dataclasses import replace
from fractions import Fraction
from itertools import count

import numpy as np
import pytest
import torch

from undertow.base import SettingsError, SilentProgress
from undertow.export import open_run
from undertow.masks import object_ids, read_written_map, upsample_argmax
from undertow.runs import execute
from undertow.tracking import TrackSettings
from undertow.tracking.cues import given_masks
from undertow.tracking.task import TASK
from undertow.video import Clip, Video
from undertow.world import crossing_scene

FRAMES = 11
FAST = TrackSettings(tokens=240, batch=2)


@pytest.fixture(scope="module")
def scene():
    """Images of a short clip, and its first label map."""
    drawn = crossing_scene(height=48, width=80, frames=24)
    pictures = [drawn.picture(float(index)) for index in range(FRAMES)]
    return [picture.image for picture in pictures], pictures[0].labels


def track_into(out, video, masks, backbone, settings, **options):
    """Tracks into a folder with an overlay; returns the folder."""
    given = given_masks(video, masks)
    return execute(TASK, out, video, given, backbone, settings, views=TASK.views, **options).path


class Counted(SilentProgress):
    """Counts the frames that are tracked."""

    def __init__(self):
        self.frames, self.stage = 0, ""

    def start(self, stage, total):
        self.stage = stage

    def advance(self, units=1, **facts):
        self.frames += self.stage == "track" and "frame" in facts


class StopAt(SilentProgress):
    """Interrupts when a frame is done."""

    def __init__(self, frame):
        self.at = frame

    def advance(self, units=1, **facts):
        if facts.get("frame") == self.at:
            raise KeyboardInterrupt


def contents(out):
    """Everything a run holds, with overlay.mp4 by its frames."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.name == "overlay.mp4":
            with Video(path) as video:
                found["overlay"] = [(frame.time, frame.image.tobytes()) for frame in video]
        elif path.is_file():
            found[str(path.relative_to(out))] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def whole(scene, tiny_like, tmp_path_factory):
    images, labels = scene
    out = tmp_path_factory.mktemp("whole") / "out"
    track_into(out, Video(np.stack(images), fps=24), {0: labels}, tiny_like, FAST)
    return contents(out)


@pytest.mark.parametrize("stop", [0, 1, 4, FRAMES - 1])
def test_an_interrupted_run_becomes_what_it_would_have_been(scene, tiny_like, tmp_path, whole, stop):
    images, labels = scene
    video, out = np.stack(images), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        track_into(
            out, Video(video, fps=24), {0: labels}, tiny_like, FAST, progress=StopAt(stop), state_seconds=0
        )  # fmt: skip
    assert not (out / "scores.csv").exists()
    counted = Counted()
    track_into(out, Video(video, fps=24), {0: labels}, tiny_like, FAST, progress=counted)
    assert contents(out) == whole
    # With a state after every batch of two, at most the batch in work is made again.
    assert counted.frames <= FRAMES - stop + 1


def test_soft_masks_are_kept(scene, tiny_like, tmp_path):
    images, labels = scene
    soft = replace(FAST, keep_soft=True)
    out = track_into(tmp_path / "out", Video(np.stack(images), fps=24), {4: labels}, tiny_like, soft)
    run, ids = open_run(out), object_ids(labels)
    for frame in run.frames:
        kept = run.soft(frame.number)
        assert kept.ids.tolist() == [0, *ids] and kept.maps.shape[1:] == tuple(run.record.settings["grid"])
        np.testing.assert_allclose(kept.maps.sum(0), 1, atol=1e-6)
        # A level of 255 decides few pixels otherwise.
        decided = upsample_argmax(torch.from_numpy(kept.maps), ids, labels.shape).labels
        assert frame.number == 4 or (decided != run.masks(frame.number)).mean() < 0.01
    sizes = [path.stat().st_size for path in (out / "soft").iterdir()]
    assert len(sizes) == FRAMES and max(sizes) < 1000 + kept.maps.size
    with pytest.raises(SettingsError, match="keep_soft was true and is false"):
        track_into(out, Video(np.stack(images), fps=24), {4: labels}, tiny_like, FAST)
    with pytest.raises(SettingsError, match="keep_soft keeps what refine crf replaces"):
        replace(soft, refine="crf")


def test_a_complete_run_is_left_as_it_is(scene, tiny_like, tmp_path, whole):
    images, labels = scene
    video = Video(np.stack(images), fps=24)
    out = track_into(tmp_path / "out", video, {0: labels}, tiny_like, FAST)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    counted = Counted()
    track_into(out, video, {0: labels}, tiny_like, FAST, progress=counted)
    assert counted.frames == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path != out} == {
        path: stamp for path, stamp in stamps.items() if path != out
    }
    (out / "overlay.mp4").unlink()
    track_into(out, video, {0: labels}, tiny_like, FAST)
    assert contents(out) == whole


def test_other_settings_video_or_mask_are_refused_with_what_differs(scene, tiny_like, tmp_path):
    images, labels = scene
    video, out = np.stack(images), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        track_into(out, Video(video, fps=24), {0: labels}, tiny_like, FAST, progress=StopAt(4), state_seconds=0)
    before = contents(out)
    other = labels.copy()
    other[:3] = 1
    for changed, words in [
        ((Video(video[:, ::-1].copy(), fps=24), {0: labels}, FAST), "video was"),
        ((Video(video, fps=24), {0: other}, FAST), "cues.frame 0 was"),
        ((Video(video, fps=24), {0: labels}, TrackSettings(tokens=240, batch=2, topk=4)), "topk was 15 and is 4"),
        ((Clip(Video(video, fps=24), 0, 8), {0: labels}, FAST), "frames.end was null and is 8"),
    ]:
        with pytest.raises(SettingsError, match=words):
            track_into(out, changed[0], changed[1], tiny_like, changed[2])
    assert contents(out) == before


def test_a_clip_keeps_the_numbers_of_its_video(scene, tiny_like, tmp_path):
    images, labels = scene
    clip = Clip(Video(np.stack(images), fps=24), 2, 9, 3)
    out = track_into(tmp_path / "out", clip, {5: labels}, tiny_like, replace(FAST, direction="forward"))
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["00002.png", "00005.png", "00008.png"]
    assert not read_written_map(out / "masks" / "00002.png").any()
    assert np.array_equal(read_written_map(out / "masks" / "00005.png"), labels)
    with Video(out / "overlay.mp4") as overlay:
        assert len(overlay) == 3 and overlay.time_of(2) == Fraction(6, 24)
    assert json.loads((out / "run.json").read_text())["settings"]["frames"] == {"start": 2, "end": 9, "every": 3}


def test_a_stream_that_is_interrupted_has_ended(scene, tiny_like, tmp_path):
    images, labels = scene
    taken = []

    def endless():
        for number in count():
            taken.append(number)
            yield images[number % FRAMES]

    settings = TrackSettings(tokens=240, batch=1)
    with pytest.raises(KeyboardInterrupt):
        track_into(tmp_path / "out", Video(endless()), {0: labels}, tiny_like, settings, progress=StopAt(5))
    found = contents(tmp_path / "out")
    assert len(found["overlay"]) == 6 and len(found["scores.csv"].splitlines()) == 1 + 2 * 6
    assert ".journal.jsonl" not in found and max(taken) <= 6
    # The next stream is another, as far as anybody knows: it must not be taken for done.
    with pytest.raises(SettingsError, match="complete run of a stream; add --overwrite"):
        track_into(tmp_path / "out", Video(endless()), {0: labels}, tiny_like, settings)
    assert contents(tmp_path / "out") == found


def test_a_stream_that_was_cut_off_goes_on_when_it_is_fed_again(scene, tiny_like, tmp_path, whole):
    images, labels = scene

    class Killed(BaseException):
        pass

    class Kill(StopAt):
        def advance(self, units=1, **facts):
            if facts.get("frame") == self.at:
                raise Killed

    out = tmp_path / "out"
    with pytest.raises(Killed):
        track_into(out, Video(iter(images), fps=24), {0: labels}, tiny_like, FAST, progress=Kill(6), state_seconds=0)
    with pytest.raises(SettingsError, match="began with another stream"):
        track_into(out, Video(iter(images[::-1]), fps=24), {0: labels}, tiny_like, FAST)
    with pytest.raises(SettingsError, match="began with another stream"):
        track_into(out, Video(iter(images[:2]), fps=24), {0: labels}, tiny_like, FAST)
    track_into(out, Video(iter(images), fps=24), {0: labels}, tiny_like, FAST)
    found, expected = contents(out), dict(whole)
    assert json.loads(found.pop("run.json"))["video"] == "stream"
    expected.pop("run.json")
    assert found == expected
