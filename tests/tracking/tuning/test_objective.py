"""Loss and gradient are those of the straightforward implementation, object by object."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow.backbones.reading.sizes import resize
from undertow.base import SettingsError
from undertow.tracking import TrackSettings, resolve
from undertow.tracking.tuning import Objective, TuningSettings
from undertow.tracking.tuning.views import altered_views, soft_iou


def states_of(model, count):
    generator = torch.Generator().manual_seed(2)
    null = model.condition("").tensor
    return null + 0.3 * torch.randn(count, *null.shape, generator=generator)


@pytest.mark.parametrize(("exclude_self", "recomputed"), [(False, False), (True, False), (False, True)])
def test_loss_and_gradients_are_the_straightforward_ones(tunable, clip, resolved, plain, exclude_self, recomputed):
    images, truth = clip
    tuning = TuningSettings(exclude_self=exclude_self, recomputed=recomputed)
    objective = Objective(tunable, images[0], 0, truth[0], [1, 2], resolved, tuning)
    states = states_of(tunable, 2).requires_grad_()
    logits = torch.tensor([[0.4, -0.2], [0.0, 1.0]], requires_grad=True)
    losses = objective.losses(objective.heads(states), logits.softmax(-1))
    ours = torch.autograd.grad(losses.sum(), (states, logits))
    latents = tunable.encode(resize(images[:1], resolved.input_size))
    for place in range(2):
        one, weights = (each[place].detach().clone().requires_grad_() for each in (states, logits))
        loss = plain(tunable, latents, resolved, one, weights, objective.frame.masks[place], exclude_self)
        torch.testing.assert_close(losses[place], loss, atol=1e-5, rtol=1e-4)
        for mine, theirs in zip(ours, torch.autograd.grad(loss, (one, weights)), strict=True):
            assert theirs.abs().max() > 0
            torch.testing.assert_close(mine[place], theirs, atol=2e-6, rtol=2e-2)


@pytest.mark.parametrize("together", [None, 2])
def test_descending_some_at_a_time_is_descending_by_the_losses(tunable, clip, resolved, together):
    images, truth = clip
    objective = Objective(tunable, images[0], 0, truth[0], [1, 2], resolved, TuningSettings(together=together))
    states = states_of(tunable, 2).requires_grad_()
    weights = torch.tensor([[0.6, 0.4], [0.3, 0.7]], requires_grad=True)
    losses, gradients = objective.descend(states, weights)
    expected = objective.losses(objective.heads(states), weights)
    torch.testing.assert_close(losses, expected.detach(), atol=1e-6, rtol=1e-5)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected.sum(), (states, weights)), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=2e-2)


def test_none_together_is_refused():
    with pytest.raises(SettingsError, match="1 object or more"):
        TuningSettings(together=0)


def test_features_are_tuned_by_their_cosine(tunable, clip):
    images, truth = clip
    card = tunable.card
    tunable.card = replace(card, sites={**card.sites, "tuning": card.sites["tuning"][1:]})
    try:
        resolved = resolve(TrackSettings(preset="dift", tokens=60, temperature=0.3), tunable, 96, 160, tuned=True)
        objective = Objective(tunable, images[0], 0, truth[0], [1], resolved, TuningSettings())
    finally:
        tunable.card = card
    states = states_of(tunable, 1).requires_grad_()
    queries, keys = objective.frame.see(states)
    assert queries.shape == (1, 1, 60, 128) and torch.equal(queries, keys)
    unit = torch.nn.functional.normalize(queries[0, 0], dim=-1)
    expected = (unit @ unit.mT / resolved.kernel.temperature).softmax(-1) @ objective.frame.masks[0]
    torch.testing.assert_close(objective.heads(states)[0, 0], expected, atol=1e-5, rtol=1e-4)
    assert torch.autograd.grad(objective.losses(objective.heads(states), torch.ones(1, 1)).sum(), states)[0].any()


def test_pixels_cannot_be_tuned(tunable, clip):
    images, truth = clip
    resolved = resolve(TrackSettings(preset="pixels", tokens=60), tunable, 96, 160, tuned=True)
    with pytest.raises(SettingsError, match="uses no model"):
        Objective(tunable, images[0], 0, truth[0], [1], resolved, TuningSettings())


def test_altered_views_move_image_and_mask_alike():
    random = np.random.default_rng(0)
    masks = torch.zeros(1, 40, 60)
    masks[0, 10:30, 15:40] = 1
    image = np.where(masks[0].numpy()[..., None] > 0, (200, 40, 40), (40, 80, 160)).astype(np.uint8)
    image = np.clip(image + random.integers(-5, 6, image.shape), 0, 255).astype(np.uint8)
    views = altered_views(image, masks, seed=3)
    for picture, moved in views:
        assert picture.shape == image.shape and picture.dtype == np.uint8 and not np.array_equal(picture, image)
        red = picture[..., 0].astype(int) > picture[..., 2]
        assert (red == (moved[0].numpy() > 0.5)).mean() > 0.97
    assert torch.equal(views[0][1], masks.flip(-1)), "the first is flipped and not cropped"
    again = altered_views(image, masks, seed=3)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(views, again, strict=True))


def test_soft_iou():
    found, wanted = torch.tensor([[0.5, 0.0, 1.0], [0.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(soft_iou(found, wanted), torch.tensor([0.75, 1.0]))
