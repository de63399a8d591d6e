"""Paths and votes against loops over tokens."""

import torch
from torch.nn.functional import cosine_similarity

from undertow.parsing import correspondence
from undertow.parsing.correspondence import Paths, follow, vote

GRID = (4, 5)


def walked(features, grid, tau):
    """Returns places and whether each path is kept, one token at a time, from the definition."""
    frames, tokens, _ = features.shape
    paths, kept = [], []
    for start in range(tokens):
        path, fine = [start], True
        for t in range(frames - 1):
            here, first = features[t, path[-1]], features[0, start]
            scores = [
                t / (t + 1) * cosine_similarity(here, other, dim=0) + cosine_similarity(first, other, dim=0) / (t + 1)
                for other in features[t + 1]
            ]
            onward = int(torch.stack(scores).argmax())
            down, right = onward // grid[1] - path[-1] // grid[1], onward % grid[1] - path[-1] % grid[1]
            fine = fine and abs(down) <= tau and abs(right) <= tau
            path.append(onward)
        paths.append(path)
        kept.append(fine)
    return torch.tensor(paths).T, torch.tensor(kept)


def test_paths_are_those_of_the_definition(monkeypatch):
    monkeypatch.setattr(correspondence, "_MOST_SIMILARITIES", 100)
    base = torch.randn(20, 8)
    features = torch.stack([base.roll(t, 0) + 0.4 * torch.randn(20, 8) for t in range(4)])
    found = follow(features, GRID, tau=1)
    places, kept = walked(features, GRID, tau=1)
    assert torch.equal(found.places, places)
    assert torch.equal(found.kept, kept)
    assert 0 < int(kept.sum()) < 20


def test_moves_are_followed_in_all_directions():
    """A step up or left counts like one down or right, and the first step may move."""
    base = torch.randn(4, 5, 16)
    for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        moved = torch.stack([base.roll((t * dy, t * dx), (0, 1)) for t in range(2)]).flatten(1, 2)
        paths = follow(moved, GRID, tau=1)
        inner = torch.arange(20).reshape(4, 5)[1:3, 1:4].flatten()
        assert torch.equal(paths.places[1, inner], inner + dy * 5 + dx)
        assert paths.kept[inner].all()
        far = torch.stack([base, base.roll((2 * dy, 2 * dx), (0, 1))]).flatten(1, 2)
        assert not follow(far, GRID, tau=1).kept.any()


def test_votes_are_those_of_the_definition():
    soft = torch.rand(3, 4, 20).softmax(1)
    places, kept = torch.randint(20, (3, 20)), torch.rand(20) > 0.3
    for hard in (False, True):
        found = vote(soft, Paths(places, kept), hard=hard)
        for t in range(3):
            for token in range(20):
                votes = []
                for path in range(20):
                    if kept[path] and places[t, path] == token:
                        mean = torch.stack([soft[u, :, places[u, path]] for u in range(3)]).mean(0)
                        votes.append(torch.eye(4)[mean.argmax()] if hard else mean)
                expected = torch.stack(votes).mean(0) if votes else soft[t, :, token]
                assert torch.allclose(found[t, :, token], expected, atol=1e-6)


def test_a_single_wrong_frame_is_outvoted():
    features = torch.randn(1, 20, 16).expand(5, -1, -1)
    soft = torch.nn.functional.one_hot(torch.arange(20) % 2, 2).T.float().repeat(5, 1, 1)
    wrong = soft.clone()
    wrong[2] = wrong[2].flip(0)
    assert torch.equal(vote(wrong, follow(features, GRID), hard=True), soft)


def test_one_frame_keeps_its_labels():
    soft = torch.rand(1, 3, 20).softmax(1)
    assert torch.allclose(vote(soft, follow(torch.randn(1, 20, 8), GRID)), soft)
