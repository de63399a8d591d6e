"""Fused and blockwise attention against softmax matrices, forward and backward, however sharp."""

from dataclasses import replace

import pytest
import torch

from undertow.affinity import KernelSettings
from undertow.base import SettingsError
from undertow.tracking.tuning import attention
from undertow.tracking.tuning.attention import carry_per_head


def dense(queries, keys, labels, kernel, exclude_self=False):
    if kernel.similarity == "cosine":
        queries, keys = (torch.nn.functional.normalize(each, dim=-1) for each in (queries, keys))
        scores = queries @ keys.mT / kernel.temperature
    else:
        scores = queries @ keys.mT / queries.shape[-1] ** 0.5 / kernel.temperature
    if exclude_self:
        scores = scores.masked_fill(torch.eye(scores.shape[-1]).bool(), -torch.inf)
    return (scores.softmax(-1) @ labels[:, None].mT).mT


@pytest.fixture
def numbers():
    generator = torch.Generator().manual_seed(0)
    queries, keys = (torch.randn(2, 3, 70, 8, generator=generator, requires_grad=True) for _ in range(2))
    return queries, keys, torch.rand(2, 10, 70, generator=generator)


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_it_is_the_dense_product_and_so_are_its_gradients(numbers, similarity, exclude_self, monkeypatch):
    monkeypatch.setattr(attention, "ROWS", 32)
    queries, keys, labels = numbers
    kernel = KernelSettings(similarity=similarity, temperature=0.2)
    found = carry_per_head(queries, keys, labels, kernel, exclude_self=exclude_self)
    expected = dense(queries.double(), keys.double(), labels.double(), kernel, exclude_self)
    assert found.shape == (2, 3, 10, 70)
    torch.testing.assert_close(found, expected.float(), atol=2e-6, rtol=1e-5)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad((found * weights).sum(), (queries, keys))
    theirs = torch.autograd.grad((expected * weights).sum(), (queries, keys))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=3e-4, rtol=1e-3)


def test_others_are_seen_even_where_a_token_sees_itself_but_for_a_millionth(numbers):
    queries, _, labels = numbers
    sharp = replace(KernelSettings(), temperature=0.02)
    found = carry_per_head(queries, queries, labels, sharp, exclude_self=True)
    expected = dense(queries.double(), queries.double(), labels.double(), sharp, exclude_self=True)
    with_self = dense(queries.double(), queries.double(), labels.double(), sharp)
    assert (with_self - labels[:, None]).abs().median() < 1e-6, "the case is one in which subtracting would fail"
    torch.testing.assert_close(found, expected.float(), atol=1e-5, rtol=1e-4)


def test_distances_are_refused(numbers):
    with pytest.raises(SettingsError, match="same under any conditioning"):
        carry_per_head(*numbers, KernelSettings(similarity="distance"))
