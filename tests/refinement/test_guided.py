"""The fast joint bilateral upsampler against its definition written out pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from undertow.base import MaskError, SettingsError
from undertow.refinement import guided
from undertow.refinement.guided import GuidedSettings, upsample_guided


def bilateral(soft, image, settings):
    """Kopf et al.'s equation 3, with loops; sides must be multiples of the grid's."""
    count, rows, columns = soft.shape
    height, width = image.shape[:2]
    sy, sx = height // rows, width // columns
    coarse = image.astype(float).reshape(rows, sy, columns, sx, 3).mean((1, 3))
    result = np.zeros((count, height, width))
    for y in range(height):
        for x in range(width):
            cy, cx, total = (y + 0.5) / sy, (x + 0.5) / sx, 0.0
            for v in range(max(0, y // sy - settings.radius), min(rows, y // sy + settings.radius + 1)):
                for u in range(max(0, x // sx - settings.radius), min(columns, x // sx + settings.radius + 1)):
                    apart = ((v + 0.5 - cy) ** 2 + (u + 0.5 - cx) ** 2) / settings.near**2
                    unlike = ((image[y, x] - coarse[v, u]) ** 2).sum() / settings.colour**2
                    weight = math.exp(-0.5 * apart) * max(math.exp(-0.5 * unlike), guided.LEAST_ALIKE)
                    result[:, y, x] += weight * soft[:, v, u]
                    total += weight
            result[:, y, x] /= total
    return result


@pytest.mark.parametrize("settings", [GuidedSettings(), GuidedSettings(radius=1, near=0.6, colour=60.0)])
def test_it_is_the_equation_whatever_the_bands(settings, monkeypatch):
    random = np.random.default_rng(0)
    image = random.integers(0, 120, (12, 20, 3), dtype=np.uint8)
    soft = torch.from_numpy(random.dirichlet((1, 1, 1), (4, 5)).astype(np.float32)).permute(2, 0, 1)
    expected = bilateral(soft.double().numpy(), image, settings)
    whole = upsample_guided(soft, image, settings)
    np.testing.assert_allclose(whole.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(whole.sum(0), torch.ones(12, 20))
    monkeypatch.setattr(guided, "BAND_VALUES", 1)
    torch.testing.assert_close(upsample_guided(soft, image, settings), whole)


def test_edges_of_the_image_are_taken_on():
    truth = np.zeros((64, 64), bool)
    truth[13:47, 21:] = True
    image = np.where(truth[..., None], (220, 200, 60), (30, 60, 90)).astype(np.uint8)
    inside = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(truth).float()[None], (8, 8))
    soft = torch.cat([1 - inside, inside])
    plain = torch.nn.functional.interpolate(soft[None], (64, 64), mode="bilinear")[0, 1].numpy() > 0.5
    sharp = upsample_guided(soft, image)[1].numpy() > 0.5
    assert (sharp != truth).sum() < (plain != truth).sum() / 4


def test_bad_input_is_one_clear_error():
    with pytest.raises(MaskError, match="4x4, smaller than the grid of 8x8"):
        upsample_guided(torch.zeros(2, 8, 8), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(SettingsError, match="radius"):
        GuidedSettings(radius=-1)
