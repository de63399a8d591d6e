import json

import numpy as np
import pytest
import torch

from undertow.training.architecture import build_tokenizer
from undertow.training.latents import Crops, LatentStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One shard whose latents tell where they come from: picture number, row, column, scene number."""
    folder = tmp_path_factory.mktemp("pictures")
    latents = np.zeros((20, 4, 24, 24), np.float16)
    latents[:, 0] = np.arange(20)[:, None, None]
    latents[:, 1] = np.arange(24)[:, None]
    latents[:, 2] = np.arange(24)
    latents[:, 3] = (np.arange(20) // 2)[:, None, None]
    np.save(folder / "00000.latents.npy", latents)
    (folder / "00000.json").write_text(json.dumps(["a red disc.", "a red disc."] * 10))
    return LatentStore({folder: 1.0}, build_tokenizer())


def drawn(store, step=0, **changes):
    crops = Crops(**({"height": 8, "width": 16, "count": 32, "diptychs": 0.0, "jitter": 3, "empty": 0.0} | changes))
    latents, tokens = store.batch(crops, (0, step))
    return torch.round(latents / store.scaling_factor), tokens


def test_crops_are_connected_pieces_of_one_picture(store):
    shapes = set()
    for step in range(6):
        latents, _ = drawn(store, step)
        shapes.add(tuple(latents.shape))
        assert bool((latents[:, 0] == latents[:, :1, 0, 0, None].reshape(-1, 1, 1)).all())
        assert bool((latents[:, 1].diff(dim=1) == 1).all()) and bool((latents[:, 2].diff(dim=2) == 1).all())
    assert shapes == {(32, 4, 8, 16), (32, 4, 16, 8)}


def test_a_diptych_shows_both_pictures_of_a_scene_at_nearly_the_same_place(store):
    shifts = set()
    for step in range(6):
        latents, _ = drawn(store, step, diptychs=1.0)
        first, second = latents.chunk(2, dim=3 if latents.shape[3] == 16 else 2)
        assert first.shape[2:] == second.shape[2:] == (8, 8)
        assert bool(((first[:, 0] - second[:, 0]).abs() == 1).all())
        assert torch.equal(first[:, 3], second[:, 3])
        moved = (second - first)[:, 1:3, 0, 0]
        assert float(moved.abs().max()) <= 3
        shifts |= {tuple(row) for row in moved.tolist()}
    assert len(shifts) > 20


def test_share_of_diptychs(store):
    latents, _ = drawn(store, diptychs=0.5, count=400)
    joined = latents[:, 0, 0, 0] != latents[:, 0, -1, -1]
    assert 0.4 < float(joined.float().mean()) < 0.6


def test_batches_are_a_function_of_their_seed(store):
    assert torch.equal(drawn(store, 3, diptychs=0.5)[0], drawn(store, 3, diptychs=0.5)[0])
    assert not torch.equal(drawn(store, 3, diptychs=0.5)[0], drawn(store, 4, diptychs=0.5)[0])


def test_share_of_empty_captions(store):
    _, tokens = drawn(store, empty=0.3, count=400)
    empty = (tokens == store.null).all(dim=1)
    assert 0.22 < float(empty.float().mean()) < 0.38


def test_folders_have_their_shares(tmp_path):
    for name, value, shards in (("few", 1.0, 1), ("many", 2.0, 3)):
        (tmp_path / name).mkdir()
        for number in range(shards):
            np.save(tmp_path / name / f"{number:05d}.latents.npy", np.full((4, 4, 16, 16), value, np.float16))
            (tmp_path / name / f"{number:05d}.json").write_text(json.dumps([""] * 4))
    store = LatentStore({tmp_path / "few": 0.75, tmp_path / "many": 0.25}, build_tokenizer())
    latents, _ = store.batch(Crops(8, 8, 400, 0.0, 0, 0.0), (0,))
    first = (torch.round(latents / store.scaling_factor)[:, 0, 0, 0] == 1).float().mean()
    assert 0.68 < float(first) < 0.82
