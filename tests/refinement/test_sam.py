"""SAM refinement against slow and obvious versions of its parts, and its promises about order and batches."""

import numpy as np
import pytest
import torch

from undertow.base import MaskError, SettingsError
from undertow.refinement import Embedding, Fit, Prediction, SamRefiner, SamSettings, SoftFrame
from undertow.refinement.sam import draw_points, merge, propagated_logits, soft_overlaps


def blob(height=60, width=100, x=40, y=30, radius=12.0):
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
    return torch.from_numpy(1 / (1 + np.exp((distance - radius) / 3))).float()


def soft_masks(*objects):
    stacked = torch.stack(objects)
    return torch.cat([(1 - stacked.sum(0)).clamp(min=0)[None], stacked])


def test_soft_overlap_is_that_of_the_formula():
    random = np.random.default_rng(0)
    soft = random.random((7, 9))
    masks = random.random((5, 7, 9)) > 0.5
    found = soft_overlaps(torch.from_numpy(soft), torch.from_numpy(masks))
    for mask, value in zip(masks, found, strict=True):
        low = high = 0.0
        for a, b in zip(soft.flat, mask.flat, strict=True):
            low, high = low + min(a, float(b)), high + max(a, float(b))
        assert abs(low / high - float(value)) < 1e-12
    assert float(soft_overlaps(torch.zeros(3, 3), torch.zeros(1, 3, 3).bool())) == 0


def test_the_mask_of_the_true_size_wins():
    """The reading of the paper's formula that scales the soft mask to sum to 1 would always choose the smallest."""
    soft = blob(radius=15)
    candidates = torch.stack([blob(radius=radius) > 0.5 for radius in (2, 5, 10, 15, 22, 40)])
    assert int(soft_overlaps(soft, candidates).argmax()) == 3


def test_points_follow_the_soft_mask():
    fit = Fit.padded((60, 100), 128, 32)
    soft = fit.to_grid(blob()[None])[0]
    soft[:, 25:] = 0
    points = draw_points(soft, fit, 4000, 2, np.random.default_rng(0))
    assert points.shape == (4000, 2, 2)
    x, y = points.flatten(0, 1).T.numpy()
    assert x.min() >= 0 and x.max() < 25 * 100 / 32 and y.min() >= 0 and y.max() < 60
    counts = np.histogram2d(y, x, bins=fit.grid, range=((0, 60), (0, 100)))[0] / len(x)
    np.testing.assert_allclose(counts, soft.numpy() / float(soft.sum()), atol=0.004)


def test_propagated_logits_decide_as_the_argmax_of_soft_masks():
    soft = torch.from_numpy(np.random.default_rng(0).dirichlet([0.5] * 4, (9, 11))).permute(2, 0, 1).float()
    soft[:, 0, 0] = torch.tensor([1.0, 0, 0, 0])
    names = np.array([0, 7, 3, 9])
    assert (merge(propagated_logits(soft), [7, 3, 9]) == names[soft.argmax(0).numpy()]).all()


def test_merge_pixel_by_pixel():
    logits = torch.randn(3, 6, 7, generator=torch.Generator().manual_seed(0))
    logits[:, 0, 0] = 0
    found = merge(logits, [5, 2, 9])
    for row in range(6):
        for column in range(7):
            best, owner = 0.0, 0
            for value, name in zip(logits[:, row, column].tolist(), [5, 2, 9], strict=True):
                if value > best:
                    best, owner = value, name
            assert found[row, column] == owner
    assert found.dtype == np.uint16 and not merge(torch.zeros(0, 2, 3), []).any()


class Discs:
    """A segmenter that answers each prompt with a disc around its first point: what refinement does can be followed."""

    def __init__(self, radius=12.0):
        self.radius, self.asked, self.shown = radius, [], []

    def embed(self, images):
        return [Embedding((), Fit.padded(images.shape[1:3], 128, 32)) for _ in images]

    def predict(self, embedding, *, points=None, labels=None, boxes=None, masks=None, multimask=False):
        self.asked.append(points)
        self.shown.append(masks)
        rows, columns = embedding.fit.grid
        height, width = embedding.fit.size
        y = (torch.arange(rows) + 0.5)[:, None] * height / rows
        x = (torch.arange(columns) + 0.5)[None] * width / columns
        distance = torch.hypot(x - points[:, 0, 0, None, None], y - points[:, 0, 1, None, None])
        return Prediction((self.radius - distance)[:, None], torch.ones(len(points), 1))


def test_the_candidate_that_fits_best_replaces_the_mask():
    frame = SoftFrame(4, np.zeros((60, 100, 3), np.uint8), soft_masks(blob()))
    segmenter = Discs()
    (refined,) = SamRefiner(segmenter).refine([frame], [3])
    truth = np.hypot(*(np.mgrid[:60, :100] + 0.5 - np.array([30, 40])[:, None, None])) < 12
    found = refined.labels == 3
    # The best of 40 discs is some pixels off.
    assert (found & truth).sum() / (found | truth).sum() > 0.7
    assert refined.kept == () and refined.scores[3] > 0.45
    # One call for the object, with p prompts of n points; the winner is the nearest of the discs to the blob's middle.
    assert [tuple(points.shape) for points in segmenter.asked] == [(40, 2, 2)]
    firsts = segmenter.asked[0][:, 0]
    nearest = firsts[torch.hypot(firsts[:, 0] - 40, firsts[:, 1] - 30).argmin()]
    rows, columns = np.nonzero(found)
    assert abs(columns.mean() + 0.5 - float(nearest[0])) < 2 and abs(rows.mean() + 0.5 - float(nearest[1])) < 2


def test_a_bad_answer_leaves_the_propagated_mask():
    soft = soft_masks(blob())
    frame = SoftFrame(0, np.zeros((60, 100, 3), np.uint8), soft)
    (refined,) = SamRefiner(Discs(radius=1.0)).refine([frame], [3])
    assert refined.kept == (3,) and refined.scores[3] < 0.1
    wanted = soft.argmax(0).numpy() * 3
    assert (refined.labels != wanted).mean() < 0.02
    (forced,) = SamRefiner(Discs(radius=1.0), SamSettings(minimum_score=0.0)).refine([frame], [3])
    assert forced.kept == () and (forced.labels > 0).sum() < 30


def test_the_mask_is_shown_if_the_settings_say_so():
    soft = soft_masks(blob(), blob(x=80, y=20, radius=8))
    frame = SoftFrame(0, np.zeros((60, 100, 3), np.uint8), soft)
    segmenter = Discs()
    list(SamRefiner(segmenter, SamSettings(prompts=5)).refine([frame], [3, 4]))
    assert segmenter.shown == [None, None]
    segmenter = Discs()
    list(SamRefiner(segmenter, SamSettings(prompts=5, mask_prompt=True)).refine([frame], [3, 4]))
    # Each object's own logits as they were before any was refined, the same beside every set of points.
    wanted = propagated_logits(Fit.padded((60, 100), 128, 32).to_grid(soft)).clamp(-8, 8)
    for masks, own in zip(segmenter.shown, wanted, strict=True):
        torch.testing.assert_close(masks, own.expand(5, -1, -1))


def test_an_object_that_is_nowhere_stays_nowhere():
    frame = SoftFrame(0, np.zeros((60, 100, 3), np.uint8), soft_masks(blob(), torch.zeros(60, 100)))
    segmenter = Discs()
    (refined,) = SamRefiner(segmenter).refine([frame], [3, 8])
    assert len(segmenter.asked) == 1 and refined.scores[8] == 0 and set(np.unique(refined.labels)) == {0, 3}
    (empty,) = SamRefiner(segmenter).refine([SoftFrame(0, frame.image, torch.ones(1, 60, 100))], [])
    assert not empty.labels.any()


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_order_batches_and_interruptions_do_not_matter(name, segmenters, frames):
    """Points depend on frame number and object id, embeddings on the frame alone."""
    soft = [soft_masks(blob(x=30 + 5 * i), blob(x=80, y=20, radius=8)) for i in range(3)]
    clip = [SoftFrame(10 + i, frames[i], soft[i]) for i in range(3)]

    def run(parts, ids=(1, 2), **options):
        settings = SamSettings(prompts=5, minimum_score=0.0, **options)
        refiner = SamRefiner(segmenters[name], settings)
        return {each.index: each for each in refiner.refine(parts, ids)}

    whole, reversed_singly = run(clip, batch=3), run(clip[::-1], batch=1)
    for index, one in whole.items():
        torch.testing.assert_close(one.logits, reversed_singly[index].logits, rtol=1e-3, atol=1e-5)
        assert (one.labels != reversed_singly[index].labels).mean() < 0.001
        assert one.labels.shape == (60, 100) and one.labels.dtype == np.uint16
    assert not torch.allclose(whole[10].logits, run(clip, seed=1)[10].logits)
    assert not torch.allclose(whole[10].logits, run(clip, mask_prompt=True)[10].logits)
    # Of two objects, the second keeps its points when the first is not there.
    alone = run([SoftFrame(10, frames[0], soft[0][[0, 2]])], ids=(2,))
    torch.testing.assert_close(alone[10].logits[0], whole[10].logits[1], rtol=1e-3, atol=1e-5)


def test_what_cannot_be_is_said():
    for wrong in ({"prompts": 0}, {"points": 0}, {"batch": 0}, {"seed": -1}, {"minimum_score": 1.5}):
        with pytest.raises(SettingsError, match=r"must be 1 or more|not a share"):
            SamSettings(**wrong)
    frame = SoftFrame(6, np.zeros((60, 100, 3), np.uint8), soft_masks(blob()))
    with pytest.raises(MaskError, match="frame 6 has 2 soft masks"):
        list(SamRefiner(Discs()).refine([frame], [1, 2]))
