"""From a word to a first mask: the maps are the formula's, the threshold is Otsu's, and strange words are refused."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from undertow.backbones.reading.sizes import resize
from undertow.base import CueError, SettingsError
from undertow.tracking import TrackSettings, resolve
from undertow.tracking.words import WordSettings, cross_attention_map, cross_sites, otsu, word_map, word_mask
from undertow.world import crossing_scene

SMALL = TrackSettings(tokens=60)


@pytest.fixture(scope="module")
def image():
    return crossing_scene(seed=11, height=96, width=160, frames=24).picture(0.0).image


@pytest.fixture(scope="module")
def speller(tiny_like):
    """The small model as one of those that ship no weights here: spelling a word says nothing of what they know."""
    model = copy.copy(tiny_like)
    model.card = replace(tiny_like.card, embedded="")
    return model


def test_the_map_is_the_mean_attention_to_the_words_pieces(speller, image):
    """The same with hooks on the whole network, site by site, and nothing shared with the library."""
    how = WordSettings(sentence="a {}.")
    resolved = resolve(SMALL, speller, *image.shape[:2])
    pieces = ["a", *speller.pieces("red disc"), "."]
    assert len(speller.pieces("a red disc.")) == len(pieces)
    places = range(2, 2 + len(speller.pieces("red disc")))
    seen, handles = {}, []
    sites = [name for name, _ in speller.denoiser.named_modules() if name.startswith("up") and name.endswith("attn2")]
    assert [site.path for site in cross_sites(speller)] == sites
    for name in sites:
        module = speller.denoiser.get_submodule(name)
        for key, part in (("q", module.to_q), ("k", module.to_k)):
            handles.append(part.register_forward_hook(lambda _, __, out, at=(name, key): seen.__setitem__(at, out[0])))
    latents = speller.encode(resize(image[None], resolved.input_size))
    speller.denoise(latents, resolved.noising.timestep, speller.condition("a red disc."))
    for handle in handles:
        handle.remove()
    maps = []
    for name in sites:
        q, k = seen[name, "q"].float(), seen[name, "k"].float()
        share = (q @ k.T / q.shape[-1] ** 0.5).softmax(-1)[:, list(places)].sum(-1)
        shape = (resolved.input_size[0] // 16, resolved.input_size[1] // 16)
        shape = shape if len(share) == shape[0] * shape[1] else resolved.grid
        maps.append(functional.interpolate(share.view(1, 1, *shape), resolved.grid, mode="bilinear")[0, 0])
    found = cross_attention_map(speller, image, "red disc", resolved, how)
    torch.testing.assert_close(found, torch.stack(maps).mean(0), atol=1e-5, rtol=1e-4)


def test_otsu_parts_best_of_all_thresholds():
    random = torch.Generator().manual_seed(0)
    values = torch.cat([torch.randn(300, generator=random) * 0.1, 1 + torch.randn(100, generator=random) * 0.2])
    at = otsu(values.view(20, 20))

    def between(threshold):
        low, high = values[values <= threshold], values[values > threshold]
        return len(low) * len(high) * float(low.mean() - high.mean()) ** 2

    every = torch.linspace(float(values.min()) + 0.01, float(values.max()) - 0.01, 2000)
    assert between(at) >= 0.99 * max(map(between, every.tolist()))
    assert otsu(torch.full((4, 4), 0.3)) == pytest.approx(0.3)
    two = torch.zeros(8, 8)
    two[2:5, 3:6] = 1
    assert 0.3 < otsu(two) < 0.7


def test_a_mask_has_the_size_of_the_frame_and_rounds_carry_the_map_on(speller, image):
    maps = [word_map(speller, image, "disc", SMALL, WordSettings(rounds=rounds)) for rounds in (0, 2)]
    assert maps[0].shape == maps[1].shape and not torch.equal(*maps)
    assert all(each.min() == 0 and each.max() == 1 for each in maps)
    mask = word_mask(speller, image, "disc", SMALL)
    assert mask.shape == image.shape[:2] and mask.dtype == np.uint16 and set(np.unique(mask)) == {0, 1}
    assert np.array_equal(mask, word_mask(speller, image, " disc ", SMALL))


def test_what_is_no_word_is_refused_in_a_sentence(speller, image):
    with pytest.raises(CueError, match="is empty"):
        word_mask(speller, image, "  ", SMALL)
    with pytest.raises(CueError, match="nowhere"):
        word_mask(speller, image, "disc", SMALL, WordSettings(least=1e9))
    with pytest.raises(SettingsError, match="must hold"):
        WordSettings(sentence="a photo")
    with pytest.raises(SettingsError, match="temperature is 0"):
        word_mask(speller, image, "disc", SMALL, WordSettings(temperature=0))


def test_a_small_vocabulary_says_which_word_it_does_not_know(tiny_like, image):
    """This tokenizer spells every word, as that of `tiny` does with words that it never met."""
    assert len(tiny_like.pieces("lute")) == 4
    with pytest.raises(CueError, match="does not know the word 'lute'"):
        word_mask(tiny_like, image, "lute", SMALL)
