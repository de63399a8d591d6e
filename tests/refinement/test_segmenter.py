"""Real SAM and SAM 2 networks of random weights and tiny size behind one protocol."""

import numpy as np
import pytest
import torch

from undertow.base import SettingsError
from undertow.refinement import Fit, normalise

PLACES = torch.tensor([[[3.0, 4.0], [50.0, 20.0]], [[70.0, 10.0], [71.0, 59.0]]])


@pytest.mark.parametrize("name", ["sam", "sam2"])
class TestBoth:
    def test_shapes(self, name, segmenters, frames):
        segmenter = segmenters[name]
        embedding = segmenter.embed(frames)[1]
        rows, columns = embedding.fit.grid
        assert (rows, columns) == ((19, 32) if name == "sam" else (32, 32))
        answer = segmenter.predict(embedding, points=PLACES)
        assert answer.logits.shape == (2, 1, rows, columns) and answer.scores.shape == (2, 1)
        answer = segmenter.predict(embedding, points=PLACES, multimask=True)
        assert answer.logits.shape == (2, 3, rows, columns) and answer.scores.shape == (2, 3)
        best = answer.best()
        assert torch.equal(best.scores[:, 0], answer.scores.amax(1))
        assert torch.equal(best.logits[0, 0], answer.logits[0, int(answer.scores[0].argmax())])
        assert embedding.fit.to_frame(best.logits[:, 0]).shape == (2, 60, 100)

    def test_frames_and_prompts_of_a_batch_do_not_mix(self, name, segmenters, frames):
        segmenter = segmenters[name]
        together = segmenter.embed(frames)
        alone = segmenter.embed(frames[1:2])[0]
        for one, other in zip(together[1].features, alone.features, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        masks = torch.randn(2, *alone.fit.grid)
        both = segmenter.predict(alone, points=PLACES, masks=masks)
        for i in range(2):
            single = segmenter.predict(alone, points=PLACES[i : i + 1], masks=masks[i : i + 1])
            torch.testing.assert_close(single.logits[0], both.logits[i], rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(single.scores[0], both.scores[i], rtol=1e-4, atol=1e-6)
        assert not torch.allclose(both.logits[0], both.logits[1], atol=1e-7)

    def test_every_kind_of_prompt_is_heard(self, name, segmenters, frames):
        segmenter = segmenters[name]
        embedding = segmenter.embed(frames[:1])[0]
        boxes = torch.tensor([[10.0, 5.0, 60.0, 50.0], [20.0, 15.0, 90.0, 50.0]])
        masks = torch.zeros(2, *embedding.fit.grid)
        answers = [
            segmenter.predict(embedding, points=PLACES),
            segmenter.predict(embedding, points=PLACES, labels=torch.tensor([[1, 0], [1, 0]])),
            segmenter.predict(embedding, boxes=boxes),
            segmenter.predict(embedding, boxes=boxes, points=PLACES),
            segmenter.predict(embedding, masks=masks),
            segmenter.predict(embedding, masks=masks + 5),
        ]
        for i, one in enumerate(answers):
            for other in answers[i + 1 :]:
                assert not torch.allclose(one.scores, other.scores, rtol=1e-5, atol=0)

    def test_places_are_those_that_transformers_means(self, name, segmenters, frames):
        """The model itself, given the square input and SAM's pixel indices, says the same as the adapter."""
        segmenter = segmenters[name]
        embedding = segmenter.embed(frames[:1])[0]
        fit = embedding.fit
        height, width = (77, 128) if name == "sam" else (128, 128)
        assert fit.inner == (height, width)
        image = torch.from_numpy(frames[:1]).permute(0, 3, 1, 2).float()
        pixels = torch.zeros(1, 3, 128, 128)
        pixels[:, :, :height, :width] = normalise(
            torch.nn.functional.interpolate(image, size=(height, width), mode="bilinear", antialias=True)
        )
        points = PLACES * torch.tensor([width / 100, height / 60]) - 0.5
        with torch.no_grad():
            wanted = segmenter.model(
                pixel_values=pixels,
                input_points=points[None],
                input_labels=torch.ones(1, 2, 2).long(),
                multimask_output=True,
            )
        answer = segmenter.predict(embedding, points=PLACES, multimask=True)
        rows, columns = fit.grid
        torch.testing.assert_close(answer.logits, wanted.pred_masks[0, :, :, :rows, :columns], rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(answer.scores, wanted.iou_scores[0], rtol=1e-3, atol=1e-6)

    def test_no_prompt_is_an_error(self, name, segmenters, frames):
        embedding = segmenters[name].embed(frames[:1])[0]
        with pytest.raises(SettingsError, match="give points, boxes or masks"):
            segmenters[name].predict(embedding)
        with pytest.raises(SettingsError, match="as many of each"):
            segmenters[name].predict(embedding, points=PLACES, boxes=torch.zeros(1, 4))


@pytest.mark.parametrize("size", [(480, 854), (854, 480), (100, 100), (1, 900), (37, 53)])
@pytest.mark.parametrize("layout", [Fit.padded, Fit.squashed])
def test_layouts(size, layout):
    fit = layout(size, 256, 128)
    assert max(fit.inner) == 256 and min(fit.inner) >= 1
    corners = torch.tensor([[0.0, 0.0], [size[1], size[0]]])
    torch.testing.assert_close(fit.places(corners), torch.tensor([[0.0, 0.0], [fit.inner[1], fit.inner[0]]]))
    if layout == Fit.padded:
        assert abs(fit.inner[0] / fit.inner[1] - size[0] / size[1]) < 0.01 * size[0] / size[1] or min(fit.inner) < 100
    whole = fit.whole(torch.ones(2, *fit.grid), -8.0)
    assert whole.shape == (2, 128, 128) and whole.sum() == 2 * (fit.grid[0] * fit.grid[1] * 9 - 8 * 128 * 128)
    flat = torch.full((1, 9, 16), 0.3)
    torch.testing.assert_close(fit.to_grid(flat), torch.full((1, *fit.grid), 0.3))
    torch.testing.assert_close(fit.to_frame(fit.to_grid(flat)), torch.full((1, *size), 0.3))


def test_masks_stay_in_place():
    """A square of the frame is at the same place on the mask cells and back, to a cell."""
    fit = Fit.padded((480, 854), 256, 128)
    mask = torch.zeros(1, 480, 854)
    mask[:, 100:300, 200:500] = 1
    cells = fit.to_grid(mask)[0] > 0.5
    rows, columns = np.nonzero(cells.numpy())
    scale = 128 / 854
    assert abs(rows.min() - 100 * scale) <= 1 and abs(columns.max() + 1 - 500 * scale) <= 1
    back = fit.to_frame(fit.to_grid(mask))[0] > 0.5
    assert (back & (mask[0] > 0)).sum() / (back | (mask[0] > 0)).sum() > 0.95
