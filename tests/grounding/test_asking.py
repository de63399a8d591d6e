"""A fine-tuned generator as a reader: frames are one clip to it, and its answers are what other masks are scored by."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from families import write_answering
from undertow.backbones import load
from undertow.base import CueError, SettingsError
from undertow.grounding import Asker
from undertow.grounding.generator import MaskGenerator
from undertow.grounding.proposals import hot_part, part_around
from undertow.grounding.settings import WordSettings
from undertow.referring import ReferSettings
from undertow.referring.finding import find
from undertow.referring.job import make_grounder
from undertow.runs import read_cue
from undertow.tracking.cues import numbered
from undertow.video import Clip, Video

SIZE, FRAMES = (40, 60), 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_answering(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(folder):
    return load(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (FRAMES, *SIZE, 3), np.uint8)


def test_frames_are_one_clip_to_a_generator(model, images):
    shown = {7: images[0], 9: images[2], 12: images[4]}
    found = list(Asker(model, SIZE).through(shown, ["the dog", "the red disc"]))
    generator = MaskGenerator(model, (32, 48))
    video = generator.encode(images[[0, 2, 4]])
    for text, place in (("the dog", 0), ("the red disc", 1)):
        scores = generator.scores(generator.answer(video, generator.read(text)), 3)
        for frame, (sights, score) in enumerate(zip(found, scores, strict=True)):
            sight = sights[place]
            assert torch.allclose(sight.heat, score.clamp(0, 1), atol=1e-5)
            assert sight.contrast == pytest.approx(float(score.clamp(0, 1).max()), abs=1e-5) and sight.found
            hot = hot_part(sight.heat, SIZE)
            assert sight.value == pytest.approx(beyond(sight, generator, video, frame), abs=1e-5)
            assert np.array_equal(sight.candidates[0].mask, part_around(hot, sight.peaks[0]))


def beyond(sight, generator, video, frame):
    """The mean of an answer inside the mask, less half of that to "the object", cell by cell."""
    anything = generator.scores(generator.answer(video, generator.read("the object")), len(video))[frame].clamp(0, 1)
    (height, width), (rows, columns), mask = SIZE, anything.shape, sight.candidates[0].mask
    covered = np.empty((rows, columns))
    for y, x in np.ndindex(rows, columns):
        down, across = (
            slice(n * side // cells, -(-(n + 1) * side // cells))
            for n, side, cells in ((y, height, rows), (x, width, columns))
        )
        covered[y, x] = mask[down, across].mean()
    return float(np.average((sight.heat - 0.5 * anything).numpy(), weights=covered))


def test_more_frames_than_the_model_was_trained_on_are_several_clips(model, images):
    assert model.fine_tuning.window == 3
    found = list(Asker(model, SIZE).through(dict(enumerate(images)), ["the dog"]))
    generator = MaskGenerator(model, (32, 48))
    states = generator.read("the dog")
    for places in ([0, 2, 4], [1, 3]):
        scores = generator.scores(generator.answer(generator.encode(images[places]), states), len(places))
        for place, score in zip(places, scores, strict=True):
            assert torch.allclose(found[place][0].heat, score.clamp(0, 1), atol=1e-5)


def test_what_is_cut_out_comes_first_if_it_is_like_the_answer(model, images):
    [alone] = Asker(model, SIZE).look(images[0], "the dog")
    part = alone.candidates[0].mask

    def propose(mask):
        return lambda image, heat, peaks: [(mask, 1.0, "box of peak 1"), (~part, 1.0, "other")]

    [near] = Asker(model, SIZE, propose=propose(np.roll(part, 1, 1))).look(images[0], "the dog")
    assert [each.made_of for each in near.candidates] == ["box of peak 1", "the answer", "other"]
    [far] = Asker(model, SIZE, propose=propose(~part)).look(images[0], "the dog")
    assert far.candidates[0].made_of == "the answer" and np.array_equal(far.mask, part)
    # Several things are all that is hot.
    [several] = Asker(model, SIZE, propose=propose(~part)).look(images[0], "the two dogs")
    assert np.array_equal(several.mask, hot_part(several.heat, SIZE))


def test_a_low_answer_is_none(model, images):
    for least, found in ((0.0, True), (1.01, False)):
        [sight] = Asker(model, SIZE, WordSettings(least=least)).look(images[0], "the dog")
        assert sight.found is found


def test_a_reader_that_answers_is_asked_about_all_pivots_together(folder, model, images):
    clip = Clip(Video(images))
    asker = make_grounder(lambda: SimpleNamespace(device=torch.device("cpu")), ReferSettings(reader=str(folder)), SIZE)
    assert isinstance(asker, Asker)
    cues = numbered([read_cue("text", text, clip) for text in ("the dog", "the cat@3")])
    dog, cat = find(cues, clip, asker, [0, 2, 4])
    assert set(dog.looked) == {0, 2, 4} and set(cat.looked) == {3}
    together = list(Asker(asker.backbone, SIZE).through({n: images[n] for n in (0, 2, 4)}, ["the dog"]))
    best = max((0, 2, 4), key=lambda n: together[n // 2][0].value)
    assert dog.frame == best and torch.equal(dog.sight.heat, together[best // 2][0].heat)


def test_parts_are_around_the_peaks_of_both_answers(model, images):
    asker, shown = Asker(model, SIZE), {3: images[0], 8: images[1]}
    parts = list(asker.parts(shown, "the red disc", "the dog"))
    both = list(asker.through(shown, ["the red disc", "the dog"]))
    assert {part.frame for part in parts} == {3, 8}
    for place, frame in enumerate((3, 8)):
        masks = [part.mask for part in parts if part.frame == frame]
        for sight in both[place]:
            assert any(np.array_equal(mask, part_around(hot_part(sight.heat, SIZE), sight.peaks[0])) for mask in masks)
        [first, *_] = [part for part in parts if part.frame == frame]
        assert torch.equal(first.heat, both[place][0].heat)
        assert first.value == pytest.approx(both[place][0].value)


def test_what_cannot_be_asked(model, images):
    with pytest.raises(CueError, match="the text is empty"):
        Asker(model, SIZE).look(images[0], " ")
    with pytest.raises(SettingsError, match="was not fine-tuned"):
        Asker(load("tiny", device="cpu"), SIZE)
