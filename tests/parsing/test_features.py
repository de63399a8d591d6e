"""Features against a forward of the model by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow.backbones import Site
from undertow.backbones.reading.sizes import resize
from undertow.base import SettingsError
from undertow.observing.observer import Observer
from undertow.parsing import ParseSettings, resolve_parse
from undertow.parsing.features import extract_tokens, placed


@pytest.fixture(scope="module")
def images():
    return list(np.random.default_rng(0).integers(0, 256, (6, 40, 56, 3), dtype=np.uint8))


def site(block, index, stride=8):
    return Site(f"up_blocks.{block}.attentions.{index}.transformer_blocks.0.attn1", "self", 1, 128, stride)


def test_features_are_mean_queries_divided_by_their_largest(tiny_like, images):
    resolved = resolve_parse(ParseSettings(tokens=140, place=0.0), tiny_like, 40, 56)
    sites = (site(1, 0), site(1, 1))
    resolved = replace(resolved, sites=sites, correspond=sites[1])
    found = extract_tokens(Observer(tiny_like, resolved), images, range(6), resolved)
    latents = tiny_like.encode(resize(np.stack(images), resolved.input_size))
    seen = tiny_like.observe(latents, 1, sites)
    assert resolved.noising.kind == "clean" and resolved.noising.timestep == 1
    mean = (seen.queries[sites[0].path][:, 0] + seen.queries[sites[1].path][:, 0]) / 2
    expected = torch.stack([torch.stack([token / token.abs().max() for token in frame]) for frame in mean])
    assert torch.allclose(found.tokens, expected, atol=1e-4)
    assert torch.allclose(found.correspond, seen.queries[sites[1].path][:, 0], atol=1e-3)
    assert found.tokens.shape[1] == resolved.grid[0] * resolved.grid[1]


def test_places_are_shares_of_height_and_width():
    tokens = placed(torch.zeros(2, 6, 3), (2, 3), 4.0)
    assert torch.allclose(tokens[1, 5], torch.tensor([0, 0, 0, 4 * 0.75, 4 * 5 / 6]))
    assert torch.equal(placed(torch.ones(1, 6, 3), (2, 3), 0.0), torch.ones(1, 6, 3))


def test_sites_of_different_widths_have_no_mean(tiny_like, images):
    resolved = resolve_parse(ParseSettings(tokens=140), tiny_like, 40, 56)
    resolved = replace(resolved, sites=(site(1, 0), replace(site(0, 0), stride=8)))
    with pytest.raises(SettingsError, match="one width"):
        extract_tokens(Observer(tiny_like, resolved), images[:1], [0], resolved)


def test_numbers_come_from_settings_then_card(tiny_like):
    usual = resolve_parse(ParseSettings(), tiny_like, 90, 160)
    assert usual.place == 5.0 and usual.sites == tiny_like.card.sites["track"]
    emerdiff = resolve_parse(ParseSettings(method="emerdiff"), tiny_like, 90, 160)
    assert emerdiff.place == 0.0 and emerdiff.noising.timestep == 1
    assert resolve_parse(ParseSettings(), tiny_like, 90, 160, anchored=False).place == 0.0
    asked = resolve_parse(ParseSettings(timestep=61, noising="invert", seed=3, size=(160, 96)), tiny_like, 90, 160)
    assert (asked.noising.kind, asked.noising.steps_grid[-1], asked.noising.seed) == ("invert", 61, 3)
    assert asked.input_size == (96, 160) and asked.as_dict()["input_size"] == (96, 160)


def test_labels_are_moved_where_there_are_anchors_and_found_where_there_are_none(tiny_like):
    assert resolve_parse(ParseSettings(), tiny_like, 90, 160).settings.method == "propagate"
    assert resolve_parse(ParseSettings(), tiny_like, 90, 160, anchored=False).settings.method == "vidseg"
    asked = ParseSettings(method="vidseg")
    assert resolve_parse(asked, tiny_like, 90, 160).settings == asked
