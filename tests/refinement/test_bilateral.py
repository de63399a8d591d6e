"""The fast upsampler and the fast mean field against their definitions written out pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from undertow.base import MaskError, SettingsError
from undertow.refinement import bilateral
from undertow.refinement.bilateral import refine_crf, upsample_guided
from undertow.refinement.settings import CrfSettings, GuidedSettings


def upsampled(soft, image, settings):
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
                    weight = math.exp(-0.5 * apart) * max(math.exp(-0.5 * unlike), bilateral.LEAST_ALIKE)
                    result[:, y, x] += weight * soft[:, v, u]
                    total += weight
            result[:, y, x] /= total
    return result


@pytest.mark.parametrize("settings", [GuidedSettings(), GuidedSettings(radius=1, near=0.6, colour=60.0)])
def test_upsampling_is_the_equation(settings):
    random = np.random.default_rng(0)
    image = random.integers(0, 120, (12, 20, 3), dtype=np.uint8)
    soft = torch.from_numpy(random.dirichlet((1, 1, 1), (4, 5)).astype(np.float32)).permute(2, 0, 1)
    expected = upsampled(soft.double().numpy(), image, settings)
    whole = upsample_guided(soft, image, settings)
    np.testing.assert_allclose(whole.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(whole.sum(0), torch.ones(12, 20))


def test_edges_of_the_image_are_taken_on():
    truth = np.zeros((64, 64), bool)
    truth[13:47, 21:] = True
    image = np.where(truth[..., None], (220, 200, 60), (30, 60, 90)).astype(np.uint8)
    inside = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(truth).float()[None], (8, 8))
    soft = torch.cat([1 - inside, inside])
    plain = torch.nn.functional.interpolate(soft[None], (64, 64), mode="bilinear")[0, 1].numpy() > 0.5
    sharp = upsample_guided(soft, image)[1].numpy() > 0.5
    assert (sharp != truth).sum() < (plain != truth).sum() / 4


def test_bad_input_of_the_upsampler_is_one_clear_error():
    with pytest.raises(MaskError, match="4x4, smaller than the grid of 8x8"):
        upsample_guided(torch.zeros(2, 8, 8), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(SettingsError, match="radius"):
        GuidedSettings(radius=-1)


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


def test_bad_input_of_the_field_is_one_clear_error(noisy):
    soft, image, _ = noisy
    with pytest.raises(MaskError, match=r"\(14, 18\) but the image \(13, 18\)"):
        refine_crf(soft, image[1:])
    with pytest.raises(MaskError, match="background"):
        refine_crf(soft[:1], image)
    for wrong in ({"steps": -1}, {"dilations": (0,)}, {"colour": 0.0}, {"certain": 0.5}, {"pairwise": -1.0}):
        with pytest.raises(SettingsError, match="; give "):
            CrfSettings(**wrong)
