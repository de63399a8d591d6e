"""What a model sees of words: the maps are those of plain hooks, and every token's fate is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from undertow.backbones import load
from undertow.backbones.reading.sizes import resize
from undertow.base import CueError, SettingsError
from undertow.grounding import Grounder, HeatProposer, WordSettings, word_sites
from undertow.grounding.settings import MAGNETS, magnets_for
from undertow.observing.settings import FrameSettings
from undertow.world import crossing_scene

SIZE = (96, 160)
FRAMES = FrameSettings(tokens=60, noising="clean")
PLAIN = WordSettings(magnets=0, phrase=False, spatial=False, sinks="keep")


@pytest.fixture(scope="module")
def tiny():
    return load("tiny")


@pytest.fixture(scope="module")
def image():
    return crossing_scene(seed=11, height=SIZE[0], width=SIZE[1], frames=24).picture(0.0).image


def hooked(backbone, latents, timestep, states):
    """Queries and keys of all cross-attentions of the decoder, by hooks on the whole network."""
    seen, handles = {}, []
    for name, module in backbone.denoiser.named_modules():
        if name.startswith("up_blocks") and name.endswith("attn2"):
            for key, part in (("q", module.to_q), ("k", module.to_k)):
                handles.append(part.register_forward_hook(lambda _, __, out, at=(name, key): seen.update({at: out[0]})))
    backbone.denoise(latents, timestep, states)
    for handle in handles:
        handle.remove()
    return seen


def test_the_map_is_the_mean_attention_to_the_words_tokens(tiny, image):
    grounder = Grounder(tiny, SIZE, PLAIN, FRAMES)
    [sight] = grounder.look(image, "a red disc")
    states = tiny.condition("a red disc")
    last = max(i for i, (start, end) in enumerate(states.spans) if end > start) + 2
    trimmed = replace(states, tensor=states.tensor[:last])
    latents = tiny.encode(resize(image[None], grounder.resolved.input_size))
    seen = hooked(tiny, latents, grounder.resolved.noising.timestep, trimmed)
    places = [i for i, (start, end) in enumerate(states.spans) if start >= 2 and end > start]
    words = [[i for i in places if states.spans[i][1] <= 5], [i for i in places if states.spans[i][0] >= 6]]
    maps = []
    for site in word_sites(tiny):
        q, k = (seen[site.path, key].float().unflatten(-1, (site.heads, -1)).transpose(0, 1) for key in "qk")
        share = (q @ k.mT / site.head_dim**0.5).softmax(-1).mean(0)
        total = sum(share[:, word].mean(1) for word in words)
        height, width = (side // site.stride for side in grounder.resolved.input_size)
        maps.append(total.view(1, 1, height, width))
    size = max(each.shape[2:] for each in maps)
    mean = torch.stack([functional.interpolate(each, size, mode="bilinear")[0, 0] for each in maps]).mean(0)
    torch.testing.assert_close(sight.heat, mean.cpu(), atol=1e-5, rtol=1e-4)


def test_every_token_has_a_fate(tiny, image):
    settings = WordSettings(magnets=2, sinks="keep")
    [sight] = Grounder(tiny, SIZE, settings, FRAMES).look(image, "the red disc on the left of a square")
    fates = {}
    for token in sight.tokens:
        fates.setdefault(token.fate, []).append(token.text)
    assert "".join(fates["kept"]).replace(" ", "") == "reddisc"
    assert "the" in fates["stop"] and "special" in fates
    assert set(fates["magnet"]) == {".", "with"}
    assert all(token.map.shape == sight.heat.shape for token in sight.tokens)
    assert set(sight.blocks) == {site.path for site in word_sites(tiny)}


def test_a_caption_is_read_and_does_not_count(tiny, image):
    settings = WordSettings(magnets=0, sinks="keep", caption="a picture of shapes")
    [sight] = Grounder(tiny, SIZE, settings, FRAMES).look(image, "red disc")
    assert any(token.fate == "caption" for token in sight.tokens)
    kept = "".join(token.text for token in sight.tokens if token.fate == "kept")
    assert kept.replace(" ", "") == "reddisc"


def test_magnets_compete_with_words(tiny, image):
    """Keys that are appended take a share of every softmax, so that words have less."""
    without, with_eight = (
        Grounder(tiny, SIZE, replace(PLAIN, magnets=count), FRAMES).look(image, "red disc")[0] for count in (0, 8)
    )
    assert (with_eight.heat < without.heat).all()
    assert magnets_for("a pink disc", 8) == tuple("teal" if each == "pink" else each for each in MAGNETS)


def test_places_multiply_the_map(tiny, image):
    plain, ramp = (
        Grounder(tiny, SIZE, replace(PLAIN, spatial=spatial), FRAMES).look(image, "red disc on the left")[0]
        for spatial in (False, True)
    )
    ratio = ramp.heat / plain.heat
    assert (ratio[:, 0] > 0.9).all() and (ratio[:, -1] < 0.25).all()


def test_several_expressions_share_the_picture_and_equal_one_by_one(tiny, image):
    grounder = Grounder(tiny, SIZE, frames=FRAMES, propose=HeatProposer())
    together = grounder.look(image, "red disc", "two squares")
    for text, sight in zip(("red disc", "two squares"), together, strict=True):
        [alone] = grounder.look(image, text)
        assert torch.equal(alone.heat, sight.heat)
        assert np.array_equal(alone.mask, sight.mask) and sight.mask.shape == SIZE
    assert together[1].expression.plural and not together[0].expression.plural


def test_repeats_are_the_mean_of_draws(tiny, image):
    frames = replace(FRAMES, noising="noise")
    one, other, both = (
        Grounder(tiny, SIZE, replace(PLAIN, repeats=count), replace(frames, seed=seed)).look(image, "disc")[0].heat
        for count, seed in ((1, 3), (1, 4), (2, 3))
    )
    torch.testing.assert_close(both, (one + other) / 2, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("sinks", ["drop", "redirect", "fallback"])
def test_sinks_are_left_out_or_looked_around(tiny, image, sinks, monkeypatch):
    """A word's token is declared a sink in most blocks; the heat no longer counts it, or is of the other ones."""
    last = word_sites(tiny)[-1].path
    from undertow.grounding import grounder as module

    plain = module.read_text

    def read(seen, site, reading):
        maps = plain(seen, site, reading)
        sunk = torch.zeros_like(maps.sinks)
        if sinks != "fallback" or site.path != last:
            sunk[1] = len(maps.sinks) < 12 or sinks != "redirect"
        return replace(maps, sinks=sunk)

    monkeypatch.setattr(module, "read_text", read)
    grounder = Grounder(tiny, SIZE, replace(PLAIN, sinks=sinks), FRAMES)
    [sight] = grounder.look(image, "red disc")
    assert torch.isfinite(sight.heat).all() and sight.heat.max() > 0
    if sinks == "drop":
        assert sight.tokens[1].fate == "sink"
    if sinks == "fallback":
        assert list(sight.blocks) == [last]
    if sinks == "redirect":
        assert sum(token.fate == "magnet" for token in sight.tokens) >= len(MAGNETS)


def test_models_without_words_and_long_texts_are_refused(tiny, image, family_folder):
    with pytest.raises(SettingsError, match="reads an image and no text"):
        Grounder(load(family_folder("svd")), SIZE, frames=FRAMES).look(image, "disc")
    with pytest.raises(CueError, match="text is empty"):
        Grounder(tiny, SIZE).look(image, " ")
    with pytest.raises(SettingsError, match="tokens and the model reads"):
        Grounder(tiny, SIZE).look(image, "zyx " * 90)


def test_a_picture_of_one_pixel(tiny):
    image = np.full((1, 1, 3), 128, np.uint8)
    [sight] = Grounder(tiny, (1, 1), propose=HeatProposer(), frames=FrameSettings(tokens=16)).look(image, "disc")
    assert torch.isfinite(sight.heat).all()
