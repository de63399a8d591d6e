"""Words are read in every family that reads text, and the maps are those of plain hooks on a stock forward."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from families import FAMILIES
from undertow.backbones import load
from undertow.backbones.reading.sizes import resize
from undertow.grounding import Grounder, WordSettings, word_sites
from undertow.observing.settings import FrameSettings

SIZE = (64, 96)
PLAIN = WordSettings(magnets=0, phrase=False, spatial=False, sinks="keep")
TEXT_FIRST = ("CogVideoXTransformer3DModel", "FluxTransformer2DModel", "Flux2Transformer2DModel")


@pytest.fixture(scope="module", params=[name for name in FAMILIES if name != "svd"])
def backbone(request, family_folder):
    return load(family_folder(request.param) / "card.json", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def compared(backbone, sites, forward):
    """Returns the (queries, keys) that enter the fused attention of each site in a whole stock forward."""
    seen, current, handles = {}, [], []
    real = functional.scaled_dot_product_attention

    def recording(query, key, value, *args, **kwargs):
        if current:
            seen[current[0]] = query[0].clone(), key[0].clone()
        return real(query, key, value, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "scaled_dot_product_attention", recording)
        for site in sites:
            attention = backbone.denoiser.get_submodule(site.path)
            handles += [
                attention.register_forward_pre_hook(lambda *_, path=site.path: current.append(path)),
                attention.register_forward_hook(lambda *_: current.clear()),
            ]
        forward()
    for handle in handles:
        handle.remove()
    return seen


def test_words_are_found_again_by_their_characters(backbone):
    text = "a red kite"
    states = backbone.condition(text)
    assert len(states.spans) == len(states.tensor)
    for start, end in ((0, 1), (2, 5), (6, 10)):
        inside = [(max(s, start), min(e, end)) for s, e in states.spans if s < end and e > start]
        assert {place for s, e in inside for place in range(s, e)} == {*range(start, end)}


def test_maps_are_the_softmax_of_plain_hooks(backbone, image):
    grounder = Grounder(backbone, SIZE, PLAIN, FrameSettings(tokens=24, noising="clean"))
    [sight] = grounder.look(image, "a red kite")
    states = backbone.condition("a red kite")
    if backbone.any_text_length:
        last = max(i for i, (start, end) in enumerate(states.spans) if end > start) + 2
        states = replace(states, tensor=states.tensor[:last])
    count, (height, width) = len(states.tensor), grounder.resolved.input_size
    latents, sites = backbone.encode(resize(image[None], (height, width))), word_sites(backbone)
    level = grounder.resolved.noising.timestep
    seen = compared(backbone, sites, lambda: backbone.denoise(latents, level, states))
    maps = []
    for site in sites:
        queries, keys = seen[site.path]
        if site.kind == "joint":
            first = type(backbone.denoiser).__name__ in TEXT_FIRST
            queries, keys = (queries[:, count:], keys[:, :count]) if first else (queries[:, :-count], keys[:, -count:])
        share = (queries @ keys.mT / site.head_dim**0.5).softmax(-1).mean(0).T
        maps.append(share.view(1, count, height // site.stride, width // site.stride))
    size = max(each.shape[2:] for each in maps)
    mean = torch.stack([functional.interpolate(each, size, mode="bilinear")[0] for each in maps]).mean(0)
    assert len(sight.tokens) == count and {token.fate for token in sight.tokens} >= {"kept", "stop"}
    torch.testing.assert_close(torch.stack([token.map for token in sight.tokens]), mean, rtol=1e-5, atol=1e-5)
