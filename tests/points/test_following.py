"""Chunks cover a video with the published counts, and the path found through candidates is the best of all."""

import itertools

import pytest
import torch

from undertow.points import cover
from undertow.points.following import LIMIT, best_path, peaks


@pytest.mark.parametrize(("length", "chunks"), [(34, 11), (49, 4), (80, 13), (104, 15), (250, 29)])
def test_overlapping_chunks_are_the_published_ones(length, chunks):
    found = cover(range(length), 0, 13, "overlap")
    assert len(found) == chunks and found[0][:3] == (0, 1, 1 + length // 12)
    assert {frame for chunk in found for frame in chunk} == set(range(length))


@pytest.mark.parametrize("plan", ["minimal", "consecutive", "overlap"])
@pytest.mark.parametrize(("length", "anchor"), [(1, 0), (2, 1), (5, 3), (13, 0), (14, 0), (40, 39)])
def test_every_frame_is_in_a_chunk_and_the_anchor_leads(plan, length, anchor):
    found = cover(range(length), anchor, 13, plan)
    assert {frame for chunk in found for frame in chunk} == set(range(length))
    for chunk in found:
        assert chunk[0] == anchor and len(chunk) <= 13 and len(set(chunk)) == len(chunk)
    if plan != "overlap":
        assert len(found) == max(1, -(-(length - 1) // 12))


def test_minimal_chunks_span_the_video():
    assert cover(range(7), 2, 4) == [(2, 0, 3, 5), (2, 1, 4, 6)]
    assert cover(range(7), 2, 4, "consecutive") == [(2, 0, 1, 3), (2, 4, 5, 6)]


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
