"""Principal directions of hidden states: what they hold, and files that cannot be read."""

import pytest
import torch
from safetensors.torch import save_file

import undertow as ut
from undertow.backbones.projection import (
    DIRECTIONS,
    FILE,
    principal_directions,
    read_projection,
    write_projection,
)
from undertow.base import WeightsUnavailable


def test_directions_lose_nothing_of_states_that_lie_in_them():
    basis = torch.linalg.qr(torch.randn(12, 4))[0]
    pictures = [torch.randn(50, 4) @ basis.T for _ in range(3)]
    directions = principal_directions(pictures, 4)
    assert torch.allclose(directions.T @ directions, torch.eye(4), atol=1e-5)
    for states in pictures:
        reduced = states @ directions
        assert torch.allclose(reduced @ reduced.T, states @ states.T, atol=1e-4)


def test_of_fewer_directions_the_strongest_are_kept():
    states = torch.randn(200, 6) * torch.tensor([1.0, 9.0, 0.1, 6.0, 0.2, 0.3])
    kept = principal_directions([states], 2).abs().amax(dim=1)
    assert set(kept.topk(2).indices.tolist()) == {1, 3}


def test_a_folder_may_hold_none(tmp_path):
    assert read_projection(tmp_path) is None
    directions = torch.linalg.qr(torch.randn(8, 3))[0]
    write_projection(tmp_path, directions)
    found = read_projection(tmp_path)
    assert found is not None and found.dtype == torch.float32 and torch.allclose(found, directions, atol=1e-3)


@pytest.mark.parametrize(
    "tensors",
    [
        {"other": torch.zeros(4, 2)},
        {DIRECTIONS: torch.zeros(4)},
        {DIRECTIONS: torch.zeros(2, 4)},
        {DIRECTIONS: torch.full((4, 2), torch.nan)},
    ],
)
def test_damaged_files_are_refused(tmp_path, tensors):
    save_file(tensors, tmp_path / FILE)
    with pytest.raises(WeightsUnavailable, match="restore it or remove it"):
        read_projection(tmp_path)
    (tmp_path / FILE).write_bytes(b"no tensors")
    with pytest.raises(WeightsUnavailable, match="cannot be read"):
        read_projection(tmp_path)


def test_tiny_ships_directions_and_the_control_has_none():
    tiny = ut.load("tiny", sites="track")
    (site,) = tiny.card.sites["track"]
    assert tiny.projection is not None and tiny.projection.shape[0] == site.heads * site.head_dim
    assert torch.allclose(tiny.projection.T @ tiny.projection, torch.eye(tiny.projection.shape[1]), atol=2e-3)
    assert ut.load("tiny-untrained", sites="track").projection is None
