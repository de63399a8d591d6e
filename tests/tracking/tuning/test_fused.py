"""The loss in one sweep, and its gradients, against the loss of dense matrices."""

import pytest
import torch

from undertow.affinity import KernelSettings
from undertow.base import SettingsError
from undertow.tracking.tuning import fused
from undertow.tracking.tuning.attention import carry_per_head
from undertow.tracking.tuning.fused import cross_entropy, self_loss


@pytest.fixture
def numbers():
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(2, 3, 70, 8, generator=generator, requires_grad=True) for _ in range(2))
    masks = torch.rand(2, 70, generator=generator).round()
    logits = torch.randn(2, 3, generator=generator, requires_grad=True)
    return queries, keys, masks, logits


def dense(queries, keys, masks, weights, kernel, exclude_self):
    if kernel.similarity == "cosine":
        queries, keys = (torch.nn.functional.normalize(each, dim=-1) for each in (queries, keys))
    scores = queries @ keys.mT / (queries.shape[-1] ** 0.5 if kernel.similarity == "dot" else 1) / kernel.temperature
    if exclude_self:
        scores = scores.masked_fill(torch.eye(scores.shape[-1]).bool(), -torch.inf)
    carried = (scores.softmax(-1) @ masks[:, None, :, None])[..., 0]
    return cross_entropy((carried * weights[..., None]).sum(1), masks)


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize(("similarity", "temperature"), [("dot", 0.3), ("cosine", 0.2), ("dot", 0.1)])
def test_loss_and_gradients_are_those_of_matrices(numbers, similarity, temperature, exclude_self, monkeypatch):
    monkeypatch.setattr(fused, "ROWS_CPU", 32)
    queries, keys, masks, logits = numbers
    kernel = KernelSettings(similarity=similarity, temperature=temperature)
    found = self_loss(queries, keys, masks, logits.softmax(-1), kernel, exclude_self=exclude_self)
    inputs = (queries, keys, logits)
    expected = dense(queries.double(), keys.double(), masks.double(), logits.softmax(-1).double(), kernel, exclude_self)
    torch.testing.assert_close(found, expected.float(), atol=1e-6, rtol=1e-5)
    each = torch.tensor([1.0, -2.0])
    ours = torch.autograd.grad((found * each).sum(), inputs)
    theirs = torch.autograd.grad((expected * each).sum(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, atol=2e-4 * float(other.abs().max()), rtol=1e-3)


def test_it_is_what_carried_labels_cost(numbers):
    queries, keys, masks, logits = numbers
    kernel, weights = KernelSettings(temperature=0.5), logits.softmax(-1)
    with torch.no_grad():
        carried = carry_per_head(queries, keys, masks[:, None], kernel)[:, :, 0]
        expected = cross_entropy((carried * weights[..., None]).sum(1), masks)
        torch.testing.assert_close(self_loss(queries, keys, masks, weights, kernel), expected)


def test_distances_are_refused(numbers):
    queries, keys, masks, logits = numbers
    with pytest.raises(SettingsError, match="same under any conditioning"):
        self_loss(queries, keys, masks, logits.softmax(-1), KernelSettings(similarity="distance"))
