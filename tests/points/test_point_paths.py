"""Paths through candidates against trying all of them."""

import itertools

import torch

from undertow.points.paths import LIMIT, best_path, peaks


def test_the_best_path_is_the_best_of_all():
    generator = torch.Generator().manual_seed(1)
    start = torch.rand(3, 2, generator=generator) * 8
    places = [torch.rand(3, 4, 2, generator=generator) * 8 for _ in range(4)]
    scores = [torch.randn(3, 4, generator=generator) for _ in range(4)]

    def value(point, path):
        before, total = start[point], 0.0
        for which, here, score in zip(path, places, scores, strict=True):
            jump = min(float((here[point, which] - before).square().sum()), LIMIT**2)
            total += float(score[point, which]) - 0.3 * jump
            before = here[point, which]
        return total

    found = torch.stack(best_path(start, places, scores, 0.3), 1)
    for point in range(3):
        best = max(itertools.product(range(4), repeat=4), key=lambda path: value(point, path))
        assert tuple(found[point].tolist()) == best


def test_a_point_may_come_back_anywhere_but_does_not_flicker():
    start = torch.zeros(1, 2)
    near, far = torch.tensor([0.0, 0.0]), torch.tensor([30.0, 0.0])
    places = [torch.stack([far, near])[None] for _ in range(6)]
    # Slightly better far away in one frame; far better there from the fourth on.
    scores = [torch.tensor([[0.5, 0.0]])] * 2 + [torch.tensor([[0.0, 0.0]])] + [torch.tensor([[9.0, 0.0]])] * 3
    found = torch.stack(best_path(start, places, scores, 0.3), 1)[0].tolist()
    assert found[3:] == [0, 0, 0] and found[2:4] in ([1, 0], [0, 0])
    alone = best_path(start, [places[0], places[1][:, 1:], *places[2:3]], [scores[0], scores[1][:, 1:], scores[2]], 0.3)
    assert [int(each) for each in alone] == [1, 0, 1]


def test_peaks_are_local_and_best_first():
    rows = torch.zeros(1, 5, 7)
    rows[0, 1, 1], rows[0, 1, 2], rows[0, 3, 5] = 1.0, 0.9, 0.5
    found = peaks(rows.flatten(1), (5, 7), 2)[0].tolist()
    assert found == [8, 26] and found[0] == int(rows.argmax())
