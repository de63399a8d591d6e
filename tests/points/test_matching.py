"""Rows of costs against the dense formula: all pairs of tokens of all heads, written out."""

import math

import pytest
import torch

from undertow.points import matching
from undertow.points.matching import backward_rows, decode, forward_rows, interpolate, log_denominators

GRID = (5, 7)


@pytest.fixture
def frames():
    generator = torch.Generator().manual_seed(0)
    heads, tokens, dim = 3, GRID[0] * GRID[1], 8
    return [torch.randn(heads, tokens, dim, generator=generator) * 2 for _ in range(4)]


def dense(source_q, source_k, target_q, target_k, scale):
    """DiffTrack's two softmaxes of every source token i and target token j, the head-mean of each: (i, j)."""
    forward = torch.einsum("aid,ajd->aij", source_q, target_k).mul(scale).softmax(-1)
    backward = torch.einsum("ajd,aid->aji", target_q, source_k).mul(scale).softmax(-1).mT
    return forward.mean(0), backward.mean(0)


@pytest.mark.parametrize("block", [1, 100, 1 << 24])
def test_rows_are_those_of_the_dense_formula(frames, block, monkeypatch):
    monkeypatch.setattr(matching, "BLOCK", block)
    source_q, source_k, target_q, target_k = frames
    scale = 1 / math.sqrt(8)
    wanted = dense(*frames, scale)
    tokens = torch.tensor([0, 3, 20, 34])
    forward = forward_rows(source_q[:, tokens], target_k, scale)
    denominators = log_denominators(target_q, source_k, scale)
    backward = backward_rows(source_k[:, tokens], target_q, denominators, scale)
    torch.testing.assert_close(forward, wanted[0][tokens], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(backward, wanted[1][tokens], atol=1e-5, rtol=1e-5)
    # Of each target token, the shares of all source tokens are a whole.
    every = backward_rows(source_k, target_q, denominators, scale)
    assert forward.sum(-1).allclose(torch.ones(4)) and every.sum(0).allclose(torch.ones(35), atol=1e-5)


def test_rows_of_half_precision_are_computed_in_full(frames):
    source_q, _, _, target_k = (each.half() for each in frames)
    wanted = forward_rows(source_q.float(), target_k.float(), 0.5)
    assert torch.equal(forward_rows(source_q, target_k, 0.5), wanted) and wanted.dtype == torch.float32


def test_sharp_costs_stay_normal_numbers(frames):
    rows = forward_rows(frames[0], frames[3], 50.0)
    assert rows.min() > torch.finfo(torch.float32).tiny and (rows * rows).min() > torch.finfo(torch.float32).tiny


def test_a_place_between_cells_is_their_bilinear_mix(frames):
    (values, *_), width = frames, GRID[1]
    places = torch.tensor([[2.0, 3.0], [2.25, 3.5], [-4.0, 9.0], [6.0, 4.0]])
    found = interpolate(values, GRID, places)
    at = lambda row, column: values[:, row * width + column]  # noqa: E731
    torch.testing.assert_close(found[:, 0], at(3, 2))
    mix = 0.5 * (0.75 * at(3, 2) + 0.25 * at(3, 3)) + 0.5 * (0.75 * at(4, 2) + 0.25 * at(4, 3))
    torch.testing.assert_close(found[:, 1], mix)
    torch.testing.assert_close(found[:, 2], at(4, 0))
    torch.testing.assert_close(found[:, 3], at(4, 6))


def test_one_row_or_column_of_cells_has_places_too():
    values = torch.arange(3.0)[None, :, None]
    assert interpolate(values, (1, 3), torch.tensor([[1.5, 0.7]])).item() == pytest.approx(1.5)
    assert interpolate(values, (3, 1), torch.tensor([[0.4, 0.5]])).item() == pytest.approx(0.5)


def bump(x, y, width=1.0):
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")
    return torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2)).reshape(1, -1)


@pytest.mark.parametrize(("decoding", "error"), [("token", 0.51), ("window", 0.16), ("parabola", 1e-4)])
@pytest.mark.parametrize("place", [(3.0, 2.0), (3.3, 1.8), (2.6, 2.4)])
def test_places_between_tokens(decoding, error, place):
    """A parabola through the logarithms of a Gaussian is exact; a window leans to its middle."""
    found = decode(bump(*place), GRID, decoding, 2, 1.0)
    assert (found - torch.tensor([place])).abs().max() < error


def test_a_window_ends_at_the_border():
    found = decode(bump(0.0, 0.0, 0.3), GRID, "window", 3, 1.0)
    assert found.min() >= 0 and found.max() < 0.1
