"""Ramps, peaks and scores of masks."""

import math

import numpy as np
import pytest
import torch

from undertow.grounding.heat import contrast, find_peaks, points_into, score_masks, spatial_bias
from undertow.grounding.proposals import HeatProposer, SegmenterProposer, box_of, otsu, part_around


@pytest.mark.parametrize(
    ("place", "at"), [("left", (2, 0)), ("right", (2, 7)), ("top", (0, 4)), ("bottom", (5, 4)), ("middle", (3, 4))]
)
def test_a_ramp_is_highest_at_its_place_and_never_below_the_floor(place, at):
    bias = spatial_bias((6, 8), [place])
    assert bias[at] == bias.max() <= 1
    assert bias.min() >= 0.1
    assert torch.equal(spatial_bias((6, 8), []), torch.ones(6, 8))


def test_ramps_are_straight_and_multiplied():
    left = spatial_bias((1, 4), ["left"])[0]
    torch.testing.assert_close(left, 0.1 + 0.9 * torch.tensor([7, 5, 3, 1]) / 8)
    both = spatial_bias((3, 4), ["top", "left"])
    torch.testing.assert_close(both, spatial_bias((3, 4), ["top"]) * spatial_bias((3, 4), ["left"]))


def test_peaks_are_centres_of_cells_in_pixels():
    heat = torch.zeros(4, 8)
    heat[1, 2], heat[1, 3], heat[3, 7], heat[0, 7] = 1.0, 0.95, 0.9, 0.5
    peaks = find_peaks(heat, (40, 160), apart=0.2)
    assert [(peak.x, peak.y) for peak in peaks] == [(50, 15), (150, 35)]
    assert [(peak.x, peak.y) for peak in find_peaks(heat, (40, 160), count=1)] == [(50, 15)]
    assert len(find_peaks(torch.ones(3, 3), (9, 9))) >= 1


def test_the_hottest_cell_points_at_its_centre():
    heat, mask = torch.zeros(4, 8), np.zeros((40, 160), bool)
    heat[1, 2] = 1.0
    mask[15, 50] = True
    assert points_into(heat, mask) and not points_into(heat.flip(0), mask)


def test_contrast_is_in_standard_deviations_and_zero_of_a_flat_map():
    heat = torch.rand(9, 9, generator=torch.Generator().manual_seed(0))
    assert contrast(heat) == pytest.approx(float((heat.max() - heat.mean()) / heat.std(correction=0)))
    assert contrast(5 * heat + 3) == pytest.approx(contrast(heat), rel=1e-4)
    assert contrast(torch.full((4, 4), 0.3)) == 0


def test_the_mask_over_the_hot_part_wins():
    heat = torch.zeros(8, 8)
    heat[2:5, 2:5] = 1
    hot = np.kron(heat.numpy() > 0, np.ones((4, 4), bool))
    half, large = hot.copy(), np.zeros_like(hot)
    half[:14] = False
    large[4:28, 4:28] = True
    nothing, everything = np.zeros_like(hot), np.ones_like(hot)
    masks = [(large, 1.0, "large"), (half, 0.2, "half"), (hot, 1.0, "hot"), (nothing, 1.0, "0"), (everything, 1.0, "1")]
    assert [each.made_of for each in score_masks(heat, masks)] == ["hot", "large", "half"]
    best = score_masks(heat, [(hot, 0.5, "hot")])[0]
    inside, outside = heat[heat > 0].mean(), heat[heat == 0].mean()
    assert best.score == pytest.approx(0.5 * float((inside - outside) / heat.std(correction=0)), rel=1e-5)


def test_otsu_parts_best_of_all_thresholds():
    random = torch.Generator().manual_seed(0)
    values = torch.cat([torch.randn(300, generator=random) * 0.1, 1 + torch.randn(100, generator=random) * 0.2])
    at = otsu(values.view(20, 20))

    def between(threshold):
        low, high = values[values <= threshold], values[values > threshold]
        return len(low) * len(high) * float(low.mean() - high.mean()) ** 2

    every = torch.linspace(float(values.min()) + 0.01, float(values.max()) - 0.01, 2000)
    assert between(at) >= 0.99 * max(map(between, every.tolist()))
    assert otsu(torch.full((4, 4), 0.3)) == pytest.approx(0.3)


@pytest.fixture
def disc():
    """A red disc on grey noise, and a blurred heat map of it on a grid of 12 x 16."""
    rows, columns = np.mgrid[:96, :128]
    inside = np.hypot(rows - 40, columns - 80) < 20
    noise = np.random.default_rng(0).integers(100, 140, (96, 128, 3))
    image = np.where(inside[..., None], [200, 30, 30], noise).astype(np.uint8)
    grid = torch.from_numpy(inside).view(12, 8, 16, 8).float().mean((1, 3))
    return image, inside, torch.nn.functional.avg_pool2d(grid[None], 3, 1, 1)[0]


def test_masks_without_a_segmenter_find_the_disc(disc):
    image, inside, heat = disc
    peaks = find_peaks(heat, image.shape[:2])
    masks = score_masks(heat, HeatProposer()(image, heat, peaks))
    overlap = [np.sum(each.mask & inside) / np.sum(each.mask | inside) for each in masks]
    assert max(overlap) > 0.9
    assert {each.made_of.split(" ")[0] for each in masks} == {"heat", "GrabCut"}


def test_the_part_around_a_peak_and_its_box():
    hot = np.zeros((20, 30), bool)
    hot[2:6, 3:9] = hot[12:15, 20:24] = True
    image_peak = find_peaks(torch.from_numpy(hot[::2, ::2]).float(), (20, 30), count=1)[0]
    part = part_around(hot, image_peak)
    assert part.sum() == 24 and box_of(part) == (2, 1, 10, 7)
    alone = part_around(np.zeros((20, 30), bool), image_peak)
    assert alone.sum() == 1 and all(map(math.isfinite, box_of(alone)))


def test_a_segmenter_is_asked_for_points_and_boxes(disc):
    from undertow.refinement import load_segmenter

    image, inside, heat = disc
    peaks = find_peaks(heat, image.shape[:2])
    found = SegmenterProposer(load_segmenter("tiny-sam"))(image, heat, peaks)
    assert len(found) == 4 * len(peaks) and all(mask.shape == inside.shape for mask, _, _ in found)
    assert all(0 <= quality <= 1 for _, quality, _ in found)
    one = SegmenterProposer(load_segmenter("tiny-sam"), paper=True)(image, heat, peaks)
    assert [name for _, _, name in one] == ["point 1, mask 1"]
