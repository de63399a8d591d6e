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
        for sights, score in zip(found, scores, strict=True):
            sight = sights[place]
            assert torch.allclose(sight.heat, score.clamp(0, 1), atol=1e-5)
            assert sight.contrast == pytest.approx(float(score.clamp(0, 1).max()), abs=1e-5) and sight.found
            hot = hot_part(sight.heat, SIZE)
            assert np.array_equal(sight.candidates[0].mask, part_around(hot, sight.peaks[0]))


def test_a_word_that_an_embedded_model_never_read_is_told_once(images, caplog):
    asker = Asker(load("tiny-refer", device="cpu"), SIZE)
    for _ in range(2):
        asker.look(images[0], "the large red disc on the left", "the camel")
    told = [record.getMessage() for record in caplog.records]
    assert told == ["'tiny-refer' does not know the word 'camel'"]


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
    best = max((0, 2, 4), key=lambda n: together[n // 2][0].contrast)
    assert dog.frame == best and torch.equal(dog.sight.heat, together[best // 2][0].heat)


def test_parts_are_around_the_peaks_of_both_answers(model, images):
    asker, shown = Asker(model, SIZE), {3: images[0], 8: images[1]}
    parts = list(asker.parts(shown, "the red disc", "the dog"))
    both = list(asker.through(shown, ["the red disc", "the dog", "the object"]))
    assert {part.frame for part in parts} == {3, 8}
    for frame, (named, phrase, anything) in zip((3, 8), both, strict=True):
        own = [part for part in parts if part.frame == frame]
        for sight in (named, phrase):
            around = part_around(hot_part(sight.heat, SIZE), sight.peaks[0])
            assert any(np.array_equal(part.mask, around) for part in own)
        for part in own:
            assert torch.equal(part.heat, named.heat)
            beyond = (named.heat - 0.5 * anything.heat).numpy()
            assert part.value == pytest.approx(np.average(beyond, weights=covered(part.mask, beyond.shape)))


def covered(mask, grid):
    """How much of each cell of a grid a mask covers."""
    shares = np.empty(grid)
    for place in np.ndindex(grid):
        shares[place] = mask[
            tuple(
                slice(n * side // cells, -(-(n + 1) * side // cells))
                for n, side, cells in zip(place, mask.shape, grid, strict=True)
            )
        ].mean()
    return shares


def test_what_cannot_be_asked(model, images):
    with pytest.raises(CueError, match="the text is empty"):
        Asker(model, SIZE).look(images[0], " ")
    with pytest.raises(SettingsError, match="was not fine-tuned"):
        Asker(load("tiny", device="cpu"), SIZE)


def test_of_parts_that_are_marked_about_alike_the_one_that_is_most_so_is_taken(model, images, monkeypatch):
    """Three things are marked, two of them nearly alike and one faintly."""
    scores = torch.zeros(20, 30)
    for rows, columns, height in (((2, 6), (2, 6), 0.8), ((2, 12), (12, 18), 0.7), ((12, 18), (24, 29), 0.4)):
        scores[slice(*rows), slice(*columns)] = height
    asker = Asker(model, SIZE)
    monkeypatch.setattr(asker, "_scores", lambda frames, texts: scores.expand(len(texts), len(frames), -1, -1))
    places = {}
    for text in ("the object", "the largest object", "the smallest object", "the leftmost object"):
        [sight] = asker.look(images[0], text)
        assert sight.found and sight.mask[int(sight.peaks[0].y), int(sight.peaks[0].x)]
        places[text.split()[1]] = round(float(np.argwhere(sight.mask)[:, 1].mean()))
    # The faint thing on the right is not what is meant, and places are not compared.
    assert places["object"] == places["leftmost"] == places["smallest"] == 8 and places["largest"] == 30


def test_where_nothing_is_marked_nothing_is_compared(model, images, monkeypatch):
    asker = Asker(model, SIZE)
    monkeypatch.setattr(asker, "_scores", lambda frames, texts: torch.zeros(len(texts), len(frames), 20, 30))
    [sight] = asker.look(images[0], "the largest object")
    assert not sight.found
