"""The fast mean field against the equation written out pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from undertow.base import MaskError, SettingsError
from undertow.refinement.crf import CrfSettings, refine_crf


def mean_field(soft, image, settings):
    """The update as it stands in the docstring, with loops."""
    _, height, width = soft.shape
    given = settings.unary * np.log(np.clip(soft, settings.certain, 1 - settings.certain))
    beliefs = np.exp(given) / np.exp(given).sum(0)
    reach = range(-settings.radius, settings.radius + 1)
    for _ in range(settings.steps):
        message = given.copy()
        for y in range(height):
            for x in range(width):
                for dilation in settings.dilations:
                    for dy in reach:
                        for dx in reach:
                            v, u = y + dy * dilation, x + dx * dilation
                            if (dy, dx) == (0, 0) or not (0 <= v < height and 0 <= u < width):
                                continue
                            unlike = (image[y, x].astype(float) - image[v, u]) / settings.colour
                            apart = np.array([dy, dx]) / settings.radius
                            affinity = math.exp(-0.5 * float((unlike**2).sum() + (apart**2).sum()))
                            message[:, y, x] += settings.pairwise * affinity * beliefs[:, v, u]
        beliefs = np.exp(message) / np.exp(message).sum(0)
    return beliefs


@pytest.fixture
def noisy():
    """Two colours, a mask that follows them but for noise, and its truth."""
    random = np.random.default_rng(0)
    truth = np.zeros((14, 18), bool)
    truth[3:11, 5:13] = True
    image = np.where(truth[..., None], (200, 60, 40), (40, 90, 160)).astype(np.uint8)
    wrong = random.random(truth.shape) < 0.12
    inside = np.where(truth ^ wrong, 0.8, 0.2).astype(np.float32)
    return torch.from_numpy(np.stack([1 - inside, inside])), image, truth


@pytest.mark.parametrize("dilations", [(1,), (1, 3), (20,)])
def test_it_is_the_equation(noisy, dilations):
    soft, _, _ = noisy
    soft = torch.cat([soft * 0.7, torch.full_like(soft[:1], 0.3)])
    image = np.random.default_rng(1).integers(0, 80, (14, 18, 3), dtype=np.uint8)
    settings = CrfSettings(steps=2, dilations=dilations, pairwise=0.3)
    expected = mean_field(soft.double().numpy(), image, settings)
    np.testing.assert_allclose(refine_crf(soft, image, settings).numpy(), expected, atol=1e-5)


def test_neighbours_of_one_colour_put_noise_right(noisy):
    soft, image, truth = noisy
    refined = refine_crf(soft, image, CrfSettings(dilations=(1, 2), pairwise=0.3))
    torch.testing.assert_close(refined.sum(0), torch.ones(14, 18))
    before, after = ((each[1].numpy() > 0.5) != truth for each in (soft, refined))
    assert before.sum() >= 20 and after.sum() <= 2


def test_without_steps_or_neighbours_the_masks_stay(noisy):
    soft, image, _ = noisy
    torch.testing.assert_close(refine_crf(soft, image, CrfSettings(steps=0)), soft)
    torch.testing.assert_close(refine_crf(soft, image, CrfSettings(pairwise=0)), soft)


def test_objects_are_refined_together_as_one_by_one(noisy):
    soft, image, _ = noisy
    twins = torch.cat([soft[:1], soft[1:] / 2, soft[1:] / 2])
    refined = refine_crf(twins, image)
    torch.testing.assert_close(refined[1], refined[2])


def test_bad_input_is_one_clear_error(noisy):
    soft, image, _ = noisy
    with pytest.raises(MaskError, match=r"\(14, 18\) but the image \(13, 18\)"):
        refine_crf(soft, image[1:])
    with pytest.raises(MaskError, match="background"):
        refine_crf(soft[:1], image)
    for wrong in ({"steps": -1}, {"dilations": (0,)}, {"colour": 0.0}, {"certain": 0.5}, {"pairwise": -1.0}):
        with pytest.raises(SettingsError, match="; give "):
            CrfSettings(**wrong)
