"""Difference maps against loops, and against what goes wrong in bytes."""

import math

import numpy as np
import torch

from undertow.parsing.sharpeners.difference import blend, blur, difference, enlarge, favour, normalise, probabilities


def _random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_differences_do_not_wrap():
    """In bytes 16² is 0 and 100² is 16, so that large differences count as small ones."""
    values = torch.tensor([0.0, 4.0, 16.0, 32.0, 100.0])
    found = difference(values.view(1, 1, 1, 5).expand(1, 3, 1, 5), torch.zeros(1, 3, 1, 5))[0, 0]
    torch.testing.assert_close(found, values * 3**0.5)
    wrapped = np.array([0, 4, 16, 32, 100], np.uint8) ** 2
    assert wrapped.tolist() == [0, 16, 0, 0, 16]
    assert (found.diff() > 0).all()
    halves = difference(torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.499))
    assert 0 < halves < 1 / 255, "less than one step of a byte is seen"


def test_blur_is_a_gaussian_with_mirrored_borders():
    maps = _random(2, 7, 6)
    found = blur(maps, 5, 3.0)
    weights = [math.exp(-0.5 * (offset / 3) ** 2) for offset in range(-2, 3)]
    total = sum(weights)

    def mirrored(index, size):
        return -index if index < 0 else 2 * size - 2 - index if index >= size else index

    for y in range(7):
        for x in range(6):
            expected = sum(
                weights[dy + 2] * weights[dx + 2] / total**2 * float(maps[1, mirrored(y + dy, 7), mirrored(x + dx, 6)])
                for dy in range(-2, 3)
                for dx in range(-2, 3)
            )
            assert abs(float(found[1, y, x]) - expected) < 1e-5
    assert blur(maps, 1) is maps
    assert blur(maps[:, :1, :1]).shape == (2, 1, 1)


def test_normalising_lifts_small_answers_and_leaves_empty_ones():
    maps = torch.stack([_random(3, 4), 1e-3 * _random(3, 4, seed=1), torch.zeros(3, 4)])
    found = normalise(maps)
    for one, given in zip(found, maps, strict=True):
        peak = float(given.max())
        torch.testing.assert_close(one, given / (peak + 1e-5) if peak else given)
    assert found[2].abs().max() == 0


def test_filtering_and_blending_against_loops():
    maps, masks = _random(2, 3, 4), (_random(2, 3, 4, seed=2) > 0.5).float()
    found = favour(maps, masks, 0.7)
    latents, original = _random(2, 4, 6, 8, seed=3), _random(2, 4, 6, 8, seed=4)
    mixed = blend(latents, original, masks)
    for n in range(2):
        for y in range(3):
            for x in range(4):
                inside = bool(masks[n, y, x])
                assert found[n, y, x] == maps[n, y, x] * (1 if inside else torch.tensor(0.7))
                cells = (n, slice(None), slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2))
                assert torch.equal(mixed[cells], (latents if inside else original)[cells])


def test_enlarged_masks_stay_within_bounds():
    found = enlarge((_random(2, 3, 4, 5) > 0.5), (12, 20))
    assert found.shape == (2, 3, 12, 20) and found.min() >= 0 and found.max() <= 1
    assert enlarge(torch.ones(1, 2, 2), (5, 7)).min() > 0.999


def test_probabilities_are_shares_and_fall_back_to_masks():
    maps, masks = _random(3, 4, 5), torch.zeros(3, 4, 5)
    masks[1] = 1
    maps[:, 2:] = 0
    found = probabilities(maps, masks)
    torch.testing.assert_close(found.sum(0), torch.ones(4, 5))
    assert torch.equal(found.argmax(0)[:2], maps.argmax(0)[:2])
    assert (found.argmax(0)[2:] == 1).all()
