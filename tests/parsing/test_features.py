"""Features against a forward of the model by hand; paths and votes against loops over tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from undertow.backbones import Site
from undertow.backbones.reading.sizes import resize
from undertow.base import SettingsError
from undertow.observing.observer import Observer
from undertow.parsing import ParseSettings, resolve_parse
from undertow.parsing import features as module
from undertow.parsing.features import Paths, extract_tokens, follow, placed, vote


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


GRID = (4, 5)


def walked(features, grid, tau):
    """Returns places and whether each path is kept, one token at a time, from the definition."""
    frames, tokens, _ = features.shape
    paths, kept = [], []
    for start in range(tokens):
        path, fine = [start], True
        for t in range(frames - 1):
            here, first = features[t, path[-1]], features[0, start]
            scores = [
                t / (t + 1) * cosine_similarity(here, other, dim=0) + cosine_similarity(first, other, dim=0) / (t + 1)
                for other in features[t + 1]
            ]
            onward = int(torch.stack(scores).argmax())
            down, right = onward // grid[1] - path[-1] // grid[1], onward % grid[1] - path[-1] % grid[1]
            fine = fine and abs(down) <= tau and abs(right) <= tau
            path.append(onward)
        paths.append(path)
        kept.append(fine)
    return torch.tensor(paths).T, torch.tensor(kept)


def test_paths_are_those_of_the_definition(monkeypatch):
    monkeypatch.setattr(module, "_MOST_SIMILARITIES", 100)
    base = torch.randn(20, 8)
    features = torch.stack([base.roll(t, 0) + 0.4 * torch.randn(20, 8) for t in range(4)])
    found = follow(features, GRID, tau=1)
    places, kept = walked(features, GRID, tau=1)
    assert torch.equal(found.places, places)
    assert torch.equal(found.kept, kept)
    assert 0 < int(kept.sum()) < 20


def test_moves_are_followed_in_all_directions():
    """A step up or left counts like one down or right, and the first step may move."""
    base = torch.randn(4, 5, 16)
    for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        moved = torch.stack([base.roll((t * dy, t * dx), (0, 1)) for t in range(2)]).flatten(1, 2)
        paths = follow(moved, GRID, tau=1)
        inner = torch.arange(20).reshape(4, 5)[1:3, 1:4].flatten()
        assert torch.equal(paths.places[1, inner], inner + dy * 5 + dx)
        assert paths.kept[inner].all()
        far = torch.stack([base, base.roll((2 * dy, 2 * dx), (0, 1))]).flatten(1, 2)
        assert not follow(far, GRID, tau=1).kept.any()


def test_votes_are_those_of_the_definition():
    soft = torch.rand(3, 4, 20).softmax(1)
    places, kept = torch.randint(20, (3, 20)), torch.rand(20) > 0.3
    found = vote(soft, Paths(places, kept))
    for t in range(3):
        for token in range(20):
            votes = [
                torch.stack([soft[u, :, places[u, path]] for u in range(3)]).mean(0)
                for path in range(20)
                if kept[path] and places[t, path] == token
            ]
            expected = torch.stack(votes).mean(0) if votes else soft[t, :, token]
            assert torch.allclose(found[t, :, token], expected, atol=1e-6)


def test_a_single_wrong_frame_is_outvoted():
    features = torch.randn(1, 20, 16).expand(5, -1, -1)
    soft = torch.nn.functional.one_hot(torch.arange(20) % 2, 2).T.float().repeat(5, 1, 1)
    wrong = soft.clone()
    wrong[2] = wrong[2].flip(0)
    assert torch.equal(vote(wrong, follow(features, GRID)).argmax(1), soft.argmax(1))


def test_one_frame_keeps_its_labels():
    soft = torch.rand(1, 3, 20).softmax(1)
    assert torch.allclose(vote(soft, follow(torch.randn(1, 20, 8), GRID)), soft)
