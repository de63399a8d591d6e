"""Frames in, observations out: against the model asked by hand, and every frame encoded once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow.backbones.reading.sizes import resize
from undertow.observing.observer import Observer, patches
from undertow.observing.settings import FrameSettings, resolve_frames
from undertow.observing.store import TensorStore
from undertow.parsing import ParseSettings, parse
from undertow.points import PointSettings, track_points
from undertow.tracking import TrackSettings, track
from undertow.tracking.settings import observer_of, resolve


@pytest.fixture(scope="module")
def images():
    return list(np.random.default_rng(0).integers(0, 256, (6, 40, 56, 3), dtype=np.uint8))


@pytest.fixture
def encoded(monkeypatch, tiny_like):
    """Returns the number of images that the model has encoded, in a list that grows with every call."""
    calls, encode = [], type(tiny_like).encode

    def counted(self, images, *more):
        calls.append(len(images))
        return encode(self, images, *more)

    monkeypatch.setattr(type(tiny_like), "encode", counted)
    return calls


@pytest.fixture
def resolved(tiny_like):
    return resolve_frames(FrameSettings(tokens=140, noising="noise", timestep=201, seed=3), tiny_like, 40, 56)


def test_attention_is_what_the_model_shows_at_the_noise_level(tiny_like, images, resolved):
    found = Observer(tiny_like, resolved).see(images[:2], [4, 5])
    latents = tiny_like.encode(resize(np.stack(images[:2]), resolved.input_size))
    noisy = tiny_like.noise(latents, resolved.noising, [4, 5])
    seen = tiny_like.observe(noisy, 201, resolved.sites)
    path = resolved.sites[0].path
    for place in range(2):
        torch.testing.assert_close(found[place].queries, seen.queries[path][place].float())
        torch.testing.assert_close(found[place].keys, seen.keys[path][place].float())
    assert found[0].keys.shape[1] == resolved.grid[0] * resolved.grid[1]


def test_noise_belongs_to_the_frame_not_to_the_batch(tiny_like, images, resolved):
    observer = Observer(tiny_like, resolved)
    together = observer.see(images[:3], [4, 5, 6])
    alone = observer.see(images[2:3], [6])[0]
    torch.testing.assert_close(alone.keys, together[2].keys, rtol=1e-3, atol=1e-3)
    other = observer.see(images[2:3], [7])[0]
    assert (other.keys - alone.keys).abs().max() > 0.1


@pytest.mark.parametrize("source", ["features", "latents", "pixels"])
def test_other_sources_compare_a_thing_with_itself(tiny_like, images, resolved, source):
    (seen,) = Observer(tiny_like, resolved, source).see(images[:1], [0])
    assert seen.queries is seen.keys and seen.keys.dtype == torch.float32
    assert seen.keys.shape[:2] == (1, resolved.grid[0] * resolved.grid[1])
    if source == "pixels":
        small = resize(np.stack(images[:1]), resolved.grid)
        colours = torch.from_numpy(small).movedim(-1, 1).float() / 255
        torch.testing.assert_close(seen.keys, patches(colours))


def test_hidden_states_are_compared_in_the_directions_of_the_model(tiny_like, images, monkeypatch):
    directions = torch.linalg.qr(torch.randn(128, 16))[0]
    monkeypatch.setattr(tiny_like, "projection", directions)
    flow, dift = (resolve(TrackSettings(preset=name, tokens=96), tiny_like, 40, 56) for name in ("flow", "dift"))
    assert (flow.directions, dift.directions) == (16, 0)
    (whole,), (fewer,) = (observer_of(tiny_like, each).see(images[:1], [0]) for each in (dift, flow))
    torch.testing.assert_close(fewer.keys, whole.keys @ directions)
    assert fewer.queries is fewer.keys


def test_a_patch_is_the_cell_and_its_neighbours():
    values = torch.arange(12.0).reshape(1, 1, 3, 4)
    found = patches(values)[0]
    assert found[5].tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert found[0].tolist() == [0, 0, 1, 0, 0, 1, 4, 4, 5]


def test_heads_under_several_conditionings_stand_side_by_side(tiny_like, images, resolved):
    texts = [tiny_like.condition("disc"), tiny_like.condition("")]
    sites = tiny_like.card.sites["tuning"]
    both = Observer(tiny_like, resolved, sites=sites, conditionings=texts).see(images[:1], [0])[0]
    single = [
        Observer(tiny_like, resolved, sites=sites, conditionings=[text]).see(images[:1], [0])[0] for text in texts
    ]
    torch.testing.assert_close(both.keys, torch.cat([one.keys for one in single]))
    assert not torch.equal(single[0].keys, single[1].keys)


def test_what_the_store_has_is_not_encoded_again_until_it_is_dropped(tiny_like, images, resolved, encoded):
    observer = Observer(tiny_like, resolved, store=TensorStore())
    first = observer.encode(images[:3], [0, 1, 2])
    again = observer.encode(images[1:5], [1, 2, 3, 4])
    assert encoded == [3, 2]
    assert torch.equal(again[:2], first[1:])
    assert torch.equal(observer.encoded([4, 0]), torch.stack([again[3], first[0]]))
    observer.drop([1, 2])
    with pytest.raises(KeyError):
        observer.encoded([1])
    observer.encode(images[:3], [0, 1, 2])
    assert encoded == [3, 2, 2]


@pytest.mark.parametrize("method", ["propagate", "vidseg", "emerdiff"])
@pytest.mark.parametrize("quality", ["turbo", "exact"])
@pytest.mark.parametrize("anchor", [0, 4])
def test_parsing_encodes_every_frame_once(tiny_like, images, encoded, method, quality, anchor):
    """Though tokens and pixels are both read out of the model, and batches before the anchor are seen ahead."""
    labels = np.zeros((40, 56), np.uint16)
    labels[10:30, 20:40] = 1
    settings = ParseSettings(method=method, quality=quality, tokens=140, batch=2, clusters=4)
    assert len(list(parse(np.stack(images), {anchor: labels}, tiny_like, settings))) == 6
    assert sum(encoded) == 6


def test_tracking_and_points_encode_every_frame_once(tiny_like, images, encoded):
    labels = np.zeros((40, 56), np.uint16)
    labels[10:30, 20:40] = 1
    list(track(np.stack(images), {0: labels}, tiny_like, TrackSettings(tokens=140)))
    assert sum(encoded) == 6
    track_points(np.stack(images), [[3, 20.0, 20.0]], model=tiny_like, settings=PointSettings(tokens=140))
    assert sum(encoded) == 12


def test_numbers_come_from_settings_then_card(tiny_like):
    usual = resolve_frames(FrameSettings(), tiny_like, 90, 160)
    card = tiny_like.card
    assert usual.sites == card.sites["track"] and usual.noising == replace(card.noising, seed=0)
    assert resolve_frames(FrameSettings(), tiny_like, 90, 160, "points", "tuning").sites == card.sites["tuning"]
    assert resolve_frames(FrameSettings(), tiny_like, 90, 160, "parse").noising == card.levels["parse"]
    asked = FrameSettings(timestep=61, noising="invert", seed=3, size=(160, 96), fit="squash")
    given = resolve_frames(asked, tiny_like, 90, 160, "parse")
    assert given.noising.steps_grid == (1, 21, 41, 61) and given.noising.seed == 3
    assert given.input_size == (96, 160) and given.as_dict()["grid"] == (12, 20)
