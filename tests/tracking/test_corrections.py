"""A mask given later changes what comes after it, up to the next given mask, and nothing else."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from undertow.base import SettingsError, SilentProgress
from undertow.masks import decode_rle, read_written_map
from undertow.observing.observer import Observer
from undertow.runs import execute, folder
from undertow.tracking import TrackSettings, track
from undertow.tracking.cues import given_masks
from undertow.tracking.task import TASK
from undertow.video import Clip, Video, ranges
from undertow.world import crossing_scene

FRAMES = 12
FAST = TrackSettings(tokens=240, batch=2)


@pytest.fixture(scope="module")
def scene():
    drawn = crossing_scene(height=48, width=80, frames=24)
    pictures = [drawn.picture(float(index)) for index in range(FRAMES)]
    return Video(np.stack([picture.image for picture in pictures]), fps=24), [picture.labels for picture in pictures]


@pytest.fixture(scope="module")
def moved(scene):
    """A mask that no tracker would have come to by itself."""
    return np.roll(scene[1][5], 9, 1)


@pytest.fixture
def run(scene, tiny_like, tmp_path):
    """Tracks into one folder, with more masks each time."""

    def again(masks, video=scene[0], **options):
        out, before = tmp_path / "out", logged(tmp_path / "out")
        execute(TASK, out, video, given_masks(video, masks), tiny_like, FAST, **options)
        return out, logged(out)[len(before) :]

    return again


def logged(out):
    """The corrections that run.json tells of."""
    if not (out / "run.json").exists():
        return []
    return [cue["corrected"] for cue in json.loads((out / "run.json").read_text())["cues"] if "corrected" in cue]


def maps(out):
    return {int(path.stem): path.read_bytes() for path in sorted((out / "masks").glob("*.png"))}


def check_tables(out, frames=range(FRAMES)):
    """Both tables tell what the masks show, in the order of frames."""
    rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
    assert [int(row["frame"]) for row in rows] == sorted(frame for frame in frames for _ in (1, 2))
    table = json.loads((out / "masks.json").read_text())
    assert [row["frame"] for row in table] == sorted(row["frame"] for row in table)
    for row in rows:
        labels = read_written_map(out / "masks" / f"{int(row['frame']):05d}.png")
        assert (labels == int(row["object"])).sum() == int(row["area"])
    for row in table:
        labels = read_written_map(out / "masks" / f"{row['frame']:05d}.png")
        assert (decode_rle(row["rle"]) == (labels == row["object"])).all()


def test_frames_before_stay_and_frames_after_follow(scene, moved, run):
    _, truth = scene
    out, done = run({0: truth[0]})
    before = maps(out)
    assert done == []
    _, done = run({0: truth[0], 5: moved})
    after = maps(out)
    assert [each["frame"] for each in done] == [5] and done[0]["last"] == FRAMES - 1
    assert all(after[frame] == before[frame] for frame in range(5))
    assert (read_written_map(out / "masks/00005.png") == moved).all()
    changed = tuple(frame for frame in before if after[frame] != before[frame])
    assert done[0]["changed"] == ranges(changed) and {5, 6} <= set(changed)
    check_tables(out)
    assert not (out / folder.STAGING).exists()
    # The same again is a complete run, and a run without the correction is another one.
    assert run({0: truth[0], 5: moved})[1] == [] and maps(out) == after
    with pytest.raises(SettingsError, match="also has a cue of frame 5; give that again beside what is new"):
        run({0: truth[0]})


def test_nothing_before_a_mask_of_every_object_is_looked_at(scene, moved, run, tiny_like, monkeypatch):
    video, truth = scene
    seen, see = [], Observer.see

    def noted(self, images, indices):
        seen.extend(indices)
        return see(self, images, indices)

    monkeypatch.setattr(Observer, "see", noted)
    run({0: truth[0]})
    seen.clear()
    # Without the second object, that one is still tracked from what came before.
    out, _ = run({0: truth[0], 4: np.where(moved == 1, moved, 0)})
    assert set(seen) == set(range(FRAMES))
    seen.clear()
    run({0: truth[0], 4: np.where(moved == 1, moved, 0), 6: moved})
    assert set(seen) == set(range(6, FRAMES))
    fresh = track(Clip(video, 6, FRAMES), moved, tiny_like, FAST)
    for result in fresh:
        assert (read_written_map(out / "masks" / f"{result.index:05d}.png") == result.labels).all()


def test_the_next_given_mask_ends_a_correction(scene, moved, run):
    _, truth = scene
    out, _ = run({0: truth[0], 9: truth[9]})
    before = maps(out)
    _, (done,) = run({0: truth[0], 5: moved, 9: truth[9]})
    assert (done["frame"], done["last"]) == (5, 8)
    after = maps(out)
    assert all(after[frame] == before[frame] for frame in (0, 1, 2, 3, 4, 9, 10, 11)) and after[6] != before[6]
    check_tables(out)


def test_the_next_given_mask_has_a_say_in_the_frames_before_it(scene, moved, tiny_like, tmp_path):
    video, truth = scene
    agreement = {}
    for direction in ("both", "forward"):
        out, settings = tmp_path / direction, replace(FAST, direction=direction)
        for masks in ({0: truth[0], 9: truth[9]}, {0: truth[0], 5: moved, 9: truth[9]}):
            execute(TASK, out, video, given_masks(video, masks), tiny_like, settings)
        assert (read_written_map(out / "masks/00005.png") == moved).all()
        # The frames after the corrected one: near that, and near the next given mask.
        shown = [read_written_map(out / f"masks/{frame:05d}.png") for frame in (6, 8)]
        agreement[direction] = [((a == b) & (b > 0)).sum() for a, b in zip(shown, (truth[6], truth[8]), strict=True)]
        check_tables(out)
    assert agreement["both"][1] > 1.5 * agreement["forward"][1]
    assert agreement["both"][0] < agreement["both"][1]


def test_a_mask_that_leaves_an_object_out_does_not_end_it(scene, moved, run):
    _, truth = scene
    only = np.where(truth[9] == 1, 1, 0).astype(np.uint16)
    out, _ = run({0: truth[0], 9: only})
    assert run({0: truth[0], 5: moved, 9: only})[1][0]["last"] == FRAMES - 1
    # Nor is that mask overwritten.
    assert ((read_written_map(out / "masks/00009.png") == 1) == (only == 1)).all()
    check_tables(out)


def test_a_correction_is_carried_back_if_asked(scene, tiny_like, tmp_path):
    video, truth = scene
    fixes, back = {0: truth[0], 2: truth[2], 9: truth[9]}, replace(FAST, correct_back=True)

    def tracked(name, masks, settings=FAST):
        execute(TASK, tmp_path / name, video, given_masks(video, masks), tiny_like, settings)
        return tmp_path / name

    out = tracked("out", {0: truth[0], 2: truth[2]})
    before = maps(out)
    tracked("out", fixes, back)
    after = maps(out)
    (done,) = logged(out)
    assert (done["frame"], done["first"], done["last"]) == (9, 3, FRAMES - 1)
    assert all(after[frame] == before[frame] for frame in (0, 1, 2)) and after[8] != before[8]
    check_tables(out)
    # As in a new run with all masks, but for masks in place of soft labels of the frames before.
    new = tracked("new", fixes)
    for frame in range(3, 9):
        one, other = (read_written_map(each / f"masks/{frame:05d}.png") for each in (out, new))
        assert (one != other).mean() < 0.05
    # It is no setting of the run: without it the same run is complete.
    assert maps(tracked("out", fixes)) == after
    with pytest.raises(SettingsError, match="direction forward rules out"):
        replace(back, direction="forward")


def test_a_given_mask_can_be_corrected(scene, moved, run):
    _, truth = scene
    out, _ = run({0: truth[0], 5: truth[5]})
    _, (done,) = run({0: truth[0], 5: moved})
    assert done["frame"] == 5 and (read_written_map(out / "masks/00005.png") == moved).all()
    assert run({0: truth[0], 5: moved})[1] == []


def test_several_at_once_are_made_in_order(scene, moved, run):
    _, truth = scene
    out, _ = run({0: truth[0]})
    _, done = run({0: truth[0], 3: moved, 8: truth[8]})
    assert [(each["frame"], each["last"]) for each in done] == [(3, 7), (8, FRAMES - 1)]
    check_tables(out)
    assert run({0: truth[0], 3: moved, 8: truth[8]})[1] == []


class StopAt(SilentProgress):
    def __init__(self, frame):
        self.at = frame

    def advance(self, units=1, **facts):
        if facts.get("frame") == self.at:
            raise KeyboardInterrupt


def test_interrupted_it_has_changed_nothing_and_can_be_made_again(scene, moved, run):
    _, truth = scene
    out, _ = run({0: truth[0]})
    before = maps(out), (out / "scores.csv").read_bytes(), (out / "run.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        run({0: truth[0], 5: moved}, progress=StopAt(7))
    assert (maps(out), (out / "scores.csv").read_bytes(), (out / "run.json").read_bytes()) == before
    run({0: truth[0]})
    assert not (out / folder.STAGING).exists()
    _, (done,) = run({0: truth[0], 5: moved})
    assert done["last"] == FRAMES - 1
    check_tables(out)


@pytest.mark.parametrize("moves", [0, 1, 4])
def test_killed_while_files_are_put_in_place_it_is_completed_by_whoever_comes_next(
    scene, moved, run, tmp_path, monkeypatch, moves
):
    _, truth = scene
    out, _ = run({0: truth[0]})
    real, left = folder.os.replace, [moves]

    def replace(source, target):
        # Of the moves into the run, and not those by which files are written.
        if folder.STAGING in str(source) and not Path(source).name.startswith("."):
            if not left[0]:
                raise OSError("killed")
            left[0] -= 1
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(folder.os, "replace", replace)
        with pytest.raises(OSError, match="killed"):
            run({0: truth[0], 5: moved})
    # The first command is of another run by now.
    with pytest.raises(SettingsError, match="also has a cue of frame 5"):
        run({0: truth[0]})
    assert not (out / folder.STAGING).exists() and logged(out)[0]["frame"] == 5
    check_tables(out)
    found = maps(out)
    assert run({0: truth[0], 5: moved})[1] == [] and maps(out) == found
    assert (read_written_map(out / "masks/00005.png") == moved).all()


def test_chosen_frames_of_a_clip(scene, moved, run):
    video, truth = scene
    clip = Clip(video, 1, 11, 2)
    out, _ = run({1: truth[1]}, video=clip)
    before = maps(out)
    _, (done,) = run({1: truth[1], 5: moved}, video=clip)
    assert (done["frame"], done["last"]) == (5, 9) and done["changed"] in ("5", "5, 7", "5, 7, 9", "5, 9")
    assert maps(out)[3] == before[3]
    check_tables(out, range(1, 11, 2))


def test_a_stream_cannot_be_corrected(scene, moved, run):
    video, truth = scene
    run({0: truth[0]}, video=Video(frame.image for frame in video))
    with pytest.raises(SettingsError, match="stream"):
        run({0: truth[0], 5: moved}, video=Video(frame.image for frame in video))


@pytest.mark.parametrize(("numbers", "text"), [((), ""), ((3,), "3"), ((1, 2, 3, 7, 9, 10), "1-3, 7, 9-10")])
def test_ranges(numbers, text):
    assert ranges(numbers) == text
