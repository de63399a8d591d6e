"""`refer --method rem`: windows, several texts, what a run keeps, going on after an interruption, and refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from families import write_answering
from undertow.backbones import load
from undertow.base import CueError, SettingsError
from undertow.grounding.generator import MaskGenerator
from undertow.masks import decode_rle
from undertow.referring import ReferSettings
from undertow.referring.prompts import resolve
from undertow.referring.settings import AnswerSettings
from undertow.runs import execute, read_cue
from undertow.runs.estimate import estimate
from undertow.tasks import TASKS
from undertow.video import Clip, Video

TASK, SIZE, FRAMES = TASKS["refer"], (32, 48), 8
SETTINGS = ReferSettings(method="rem")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(write_answering(tmp_path_factory.mktemp("models")), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def clip():
    return Clip(Video(np.random.default_rng(1).integers(0, 256, (FRAMES, 40, 60, 3), np.uint8)))


def asked(clip, *texts, settings=SETTINGS, model=None):
    return TASK.gather([read_cue("text", text, clip) for text in texts], clip, lambda: model, settings)


def run(out, clip, model, *texts, settings=SETTINGS, **options):
    return execute(TASK, out, clip, asked(clip, *texts, settings=settings, model=model), model, settings, **options)


def softs(folder):
    return {path.name: np.asarray(Image.open(path)) for path in sorted((folder / "soft").iterdir())}


def test_a_run_has_masks_scores_and_words_of_every_text(model, clip, tmp_path):
    folder = run(tmp_path / "run", clip, model, "red disc", "dog#7").path
    words = json.loads((folder / "words.json").read_text())
    assert [(each["object"], each["text"]) for each in words] == [(1, "red disc"), (7, "dog")]
    assert len(list((folder / "masks").iterdir())) == FRAMES and len(softs(folder)) == 2 * FRAMES
    rows = json.loads((folder / "masks.json").read_text())
    soft = softs(folder)
    for row in rows:
        mask = decode_rle(row["rle"]).astype(bool)
        assert np.array_equal(mask, soft[f"{row['frame']:05d}-{row['object']}.png"] > 65535 // 2)
    both = {row["frame"] for row in rows if row["object"] == 1} & {row["frame"] for row in rows if row["object"] == 7}
    assert both
    # A window as the generator itself answers, at the frames' own size.
    generator = MaskGenerator(model, SIZE)
    images = np.stack([frame.image for frame in clip.video.frames(range(3))])
    scores = generator.scores(generator.answer(generator.encode(images), generator.read("dog")), 3)
    native = torch.nn.functional.interpolate(scores[None], (40, 60), mode="bilinear")[0, 1]
    assert np.abs(soft["00001-7.png"] / 65535 - native.clamp(0, 1).numpy()).max() < 1e-4


def test_a_mask_is_where_scores_are_above_the_threshold_of_the_model(model, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "fine_tuning", replace(model.fine_tuning, threshold=0.3))
    folder = run(tmp_path / "run", clip, model, "dog").path
    soft = softs(folder)
    for row in json.loads((folder / "masks.json").read_text()):
        assert np.array_equal(decode_rle(row["rle"]).astype(bool), soft[f"{row['frame']:05d}-1.png"] > 0.3 * 65535)


def test_a_budget_of_tokens_does_not_change_the_size_of_training(model):
    for settings in (SETTINGS, replace(SETTINGS, tokens=1600)):
        assert resolve(settings, model, (40, 60)).input_size == SIZE
    assert resolve(replace(SETTINGS, size=(96, 64)), model, (40, 60)).input_size == (64, 96)


def test_a_model_of_sheets_keeps_the_size_and_the_frames_of_its_sheets(model, monkeypatch):
    monkeypatch.setattr(model, "fine_tuning", replace(model.fine_tuning, sheet=True))
    assert resolve(replace(SETTINGS, answers=AnswerSettings(window=1)), model, (40, 60)).window == 1
    for change in ({"size": (96, 64)}, {"answers": AnswerSettings(window=9)}):
        with pytest.raises(SettingsError, match="at most 3 frames at its own size"):
            resolve(replace(SETTINGS, **change), model, (40, 60))


def test_argmax_gives_a_pixel_to_one_text(model, clip, tmp_path):
    settings = replace(SETTINGS, answers=AnswerSettings(merge="argmax", soft=False))
    folder = run(tmp_path / "run", clip, model, "red disc", "dog", settings=settings).path
    assert not (folder / "soft").exists()
    rows = json.loads((folder / "masks.json").read_text())
    for frame in range(FRAMES):
        masks = [decode_rle(row["rle"]).astype(int) for row in rows if row["frame"] == frame]
        assert sum(masks).max() <= 1
        labels = np.asarray(Image.open(folder / "masks" / f"{frame:05d}.png"))
        assert np.array_equal(labels > 0, sum(masks) > 0)


@pytest.mark.parametrize("overlap", [0, 1])
def test_the_last_window_is_whole_and_an_interrupted_run_goes_on(overlap, model, clip, tmp_path, monkeypatch):
    settings = replace(SETTINGS, answers=AnswerSettings(overlap=overlap))
    whole = softs(run(tmp_path / "whole", clip, model, "dog", settings=settings).path)
    generator = MaskGenerator(model, SIZE)
    images = np.stack([frame.image for frame in clip.video.frames(range(FRAMES - 3, FRAMES))])
    scores = generator.scores(generator.answer(generator.encode(images), generator.read("dog")), 3)
    last = torch.nn.functional.interpolate(scores[None], (40, 60), mode="bilinear")[0, 2].clamp(0, 1).numpy()
    assert np.abs(whole[f"{FRAMES - 1:05d}-1.png"] / 65535 - last).max() < 1e-4

    answer, calls = MaskGenerator.answer, iter(range(100))

    def broken(self, *args):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return answer(self, *args)

    monkeypatch.setattr(MaskGenerator, "answer", broken)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", clip, model, "dog", settings=settings, state_seconds=0)
    monkeypatch.undo()
    done = run(tmp_path / "cut", clip, model, "dog", settings=settings)
    again = softs(done.path)
    assert again.keys() == whole.keys() and all(np.array_equal(again[name], whole[name]) for name in whole)


def test_windows_lie_between_one_anothers_frames(model, clip, tmp_path):
    settings = replace(SETTINGS, method=None, answers=AnswerSettings(spacing=2))
    found = softs(run(tmp_path / "run", clip, model, "dog", settings=settings).path)
    generator = MaskGenerator(model, SIZE)
    # Six frames at first, and then the last six, of which four are known already.
    for first, answered in ((0, range(6)), (2, range(6, 8))):
        images = np.stack([frame.image for frame in clip.video.frames(range(first, first + 6))])
        for phase in range(2):
            scores = generator.scores(generator.answer(generator.encode(images[phase::2]), generator.read("dog")), 3)
            native = torch.nn.functional.interpolate(scores[None], (40, 60), mode="bilinear")[0].clamp(0, 1).numpy()
            for frame, truth in zip(range(first + phase, first + 6, 2), native, strict=True):
                if frame in answered:
                    assert np.abs(found[f"{frame:05d}-1.png"] / 65535 - truth).max() < 1e-4
    shown = estimate(TASK, clip, asked(clip, "dog", settings=settings, model=model), model, settings)
    assert shown.passes_per_frame == pytest.approx(1 / 3)


def test_a_short_video_is_one_window_and_costs_are_known(model, clip, tmp_path):
    short = Clip(clip.video, 0, 2)
    assert len(softs(run(tmp_path / "run", short, model, "dog").path)) == 2
    found = estimate(TASK, clip, asked(clip, "dog", "red disc"), model, SETTINGS)
    assert found.memory > 0 and found.passes_per_frame == pytest.approx(2 / 3)


def test_what_does_not_go_together_is_refused(model, clip, tmp_path):
    with pytest.raises(CueError, match="no text was given"):
        asked(clip)
    with pytest.raises(CueError, match="takes texts and no box"):
        TASK.gather([read_cue("text", "dog", clip), read_cue("box", "1,1,9,9", clip)], clip, lambda: None, SETTINGS)
    with pytest.raises(CueError, match="names a frame"):
        asked(clip, "dog@2")
    with pytest.raises(SettingsError, match="at most half of the 3 frames"):
        run(tmp_path / "a", clip, model, "dog", settings=replace(SETTINGS, answers=AnswerSettings(overlap=2)))
    stream = Clip(Video(iter(np.zeros((4, 40, 60, 3), np.uint8))))
    with pytest.raises(SettingsError, match="can be read again"):
        run(tmp_path / "b", stream, model, "dog", settings=replace(SETTINGS, answers=AnswerSettings(overlap=1)))
