"""Tokens that are expected somewhere weigh less the further they are from there, by the formula."""

import pytest
import torch
from tests.affinity.test_kernel import dense_logits, features, scattered, window_mask

from undertow.affinity import KernelSettings, compute_affinity
from undertow.base import SettingsError

GRID = (9, 11)


def anywhere(tokens, seed=3):
    random = torch.rand(3, tokens, generator=torch.Generator().manual_seed(seed))
    return random * torch.tensor([GRID[0] + 4.0, GRID[1] + 4.0, 1.0])[:, None] - torch.tensor([2.0, 2.0, 0.0])[:, None]


def dense_penalty(places, radius):
    rows, columns = torch.meshgrid(torch.arange(GRID[0]), torch.arange(GRID[1]), indexing="ij")
    own = torch.stack([rows.flatten(), columns.flatten()]).float()
    distance = (own[:, :, None] - places[:2, None]).square().sum(0)  # of query and expected place
    return -places[2] * distance / (2 * (radius / 4) ** 2)


@pytest.mark.parametrize("similarity", ["dot", "cosine", "distance"])
@pytest.mark.parametrize("scope", ["reference", "window", "joint", "none", "survivors"])
def test_weights_are_multiplied_by_a_gaussian_of_the_distance(similarity, scope):
    settings = KernelSettings(similarity=similarity, temperature=0.5, softmax_scope=scope, radius=4, topk=200)
    queries, references = features(0, 1, GRID, 8, 3)
    tokens = queries.shape[1]
    places = [None, anywhere(tokens), anywhere(tokens, 4)]
    inside = window_mask(GRID, settings, False)
    parts = []
    for keys, where in zip(references, places, strict=True):
        logits = dense_logits(queries, keys, settings)[0]
        # Which of one reference's tokens a softmax runs over is another matter than how near they are.
        whole = logits.logsumexp(-1, keepdim=True) if scope == "reference" else 0.0
        logits = logits - whole + (0.0 if where is None else dense_penalty(where, settings.radius))
        if scope == "window":
            logits = logits.masked_fill(~inside, -torch.inf).log_softmax(-1)
        parts.append(logits.masked_fill(~inside, -torch.inf))
    expected = torch.cat(parts, -1).softmax(-1)
    affinity = compute_affinity(queries, references, GRID, settings, places=places)
    wanted = affinity.indices.shape[1]
    kept = expected * (expected >= expected.topk(min(wanted, expected.shape[1]), -1).values[:, -1:])
    torch.testing.assert_close(scattered(affinity, 3), kept / kept.sum(-1, keepdim=True), atol=2e-5, rtol=1e-3)


def test_of_equal_tokens_the_expected_one_wins_and_without_trust_none_does():
    settings = KernelSettings(similarity="cosine", temperature=0.02, softmax_scope="none", radius=4, topk=1)
    same = torch.ones(1, GRID[0] * GRID[1], 4)
    rows, columns = torch.meshgrid(torch.arange(GRID[0]), torch.arange(GRID[1]), indexing="ij")
    # All has moved two columns to the right.
    moved = torch.stack([rows.flatten(), columns.flatten() + 2, torch.ones(same.shape[1])]).float()
    affinity = compute_affinity(same, [same], GRID, settings, places=[moved])
    came_from = affinity.indices[:, 0].view(GRID)
    assert (came_from[:, 2:] % GRID[1] == torch.arange(GRID[1] - 2)).all()
    untrusted = moved * torch.tensor([1.0, 1.0, 0.0])[:, None]
    without = compute_affinity(same, [same], GRID, settings)
    assert torch.equal(compute_affinity(same, [same], GRID, settings, places=[untrusted]).indices, without.indices)


def test_what_is_expected_far_away_everywhere_still_has_weights():
    settings = KernelSettings(similarity="cosine", temperature=0.02, softmax_scope="none", radius=2, topk=3)
    queries, references = features(1, 1, GRID, 8, 1)
    far = anywhere(queries.shape[1]) + torch.tensor([40.0, 40.0, 1.0])[:, None]
    affinity = compute_affinity(queries, references, GRID, settings, places=[far])
    torch.testing.assert_close(affinity.weights.sum(1), torch.ones(len(affinity.weights)))
    assert affinity.mass.isfinite().all()


def test_places_need_a_window():
    queries, references = features(2, 1, GRID, 8, 1)
    with pytest.raises(SettingsError, match="give a radius"):
        compute_affinity(queries, references, GRID, KernelSettings(radius=None), places=[None])
