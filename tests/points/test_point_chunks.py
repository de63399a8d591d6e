"""Chunks cover a video, with the counts that the published procedure has."""

import pytest

from undertow.points import cover


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
