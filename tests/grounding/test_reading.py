"""Shares of attention are those of one dense softmax, and sinks are found where they were put."""

import pytest
import torch

from undertow.backbones import Observation, Site
from undertow.base import SettingsError
from undertow.grounding import reading
from undertow.grounding.reading import TextMaps, combine, find_sinks, mean_maps, read_text

JOINT = Site("blocks.0.attn", "joint", 3, 8, 16)
CROSS = Site("up.attn2", "cross", 3, 8, 16)
GRID, TOKENS = (4, 6), 5


def observed(site, seed=0):
    random = torch.Generator().manual_seed(seed)

    def draw(count):
        return torch.randn(1, 3, count, 8, generator=random) * 2

    if site.kind == "cross":
        return Observation({site.path: draw(24)}, {site.path: draw(TOKENS)}, {}, GRID, 16)
    return Observation(
        {site.path: draw(24)}, {site.path: draw(24)}, {}, GRID, 16,
        {site.path: draw(TOKENS)[0]}, {site.path: draw(TOKENS)[0]},
    )  # fmt: skip


def dense(seen, site):
    """The softmax of the whole sequence [text, picture], heads averaged; rows attend."""
    q = torch.cat([seen.text_queries[site.path], seen.queries[site.path][0]], dim=1)
    k = torch.cat([seen.text_keys[site.path], seen.keys[site.path][0]], dim=1)
    return (q @ k.mT / 8**0.5).softmax(-1).mean(0)


@pytest.mark.parametrize("rows", [1, 7, 1 << 14])
def test_readings_of_a_joint_attention_equal_the_dense_softmax(rows, monkeypatch):
    monkeypatch.setattr(reading, "ROWS", rows)
    seen = observed(JOINT)
    whole = dense(seen, JOINT)
    torch.testing.assert_close(read_text(seen, JOINT, "A").shares, whole[TOKENS:, :TOKENS].T)
    torch.testing.assert_close(read_text(seen, JOINT, "C").shares, whole[:TOKENS, TOKENS:])
    text_only = (seen.queries[JOINT.path][0] @ seen.text_keys[JOINT.path].mT / 8**0.5).softmax(-1).mean(0).T
    torch.testing.assert_close(read_text(seen, JOINT, "B").shares, text_only)


def test_a_cross_attention_has_one_reading_of_columns_and_none_of_rows():
    seen = observed(CROSS)
    plain = (seen.queries[CROSS.path][0] @ seen.keys[CROSS.path][0].mT / 8**0.5).softmax(-1).mean(0).T
    for name in ("A", "B"):
        torch.testing.assert_close(read_text(seen, CROSS, name).shares, plain)
    with pytest.raises(SettingsError, match="choose B"):
        read_text(seen, CROSS, "C")
    with pytest.raises(SettingsError, match="compares no text"):
        read_text(Observation(seen.queries, seen.queries, {}, GRID, 16), Site(CROSS.path, "self", 3, 8, 16), "B")


def test_a_sink_draws_much_from_everywhere():
    shares = torch.full((6, 100), 0.05) + 0.01 * torch.rand(6, 100, generator=torch.Generator().manual_seed(0))
    shares[2] = 0.5
    shares[4, :10] = 1.0  # much, but from one part of the picture
    by_text = torch.full((6, 6), 0.02)
    by_text[:, 2] = by_text[:, 4] = 0.5
    assert find_sinks(shares, by_text).nonzero()[:, 0].tolist() == [2]
    assert find_sinks(shares, None).nonzero()[:, 0].tolist() == [2]
    by_text[:, 2] = 0.02
    by_text[2, 2] = 0.9  # attends to itself alone
    assert not find_sinks(shares, by_text).any()


def test_maps_of_blocks_are_averaged_on_the_finest_grid_and_sinks_by_majority():
    fine, coarse = torch.rand(2, 24), torch.ones(2, 6)
    sinks = [torch.tensor([True, False]), torch.tensor([True, True]), torch.tensor([False, True])]
    maps = [TextMaps(fine, sinks[0]), TextMaps(fine, sinks[1]), TextMaps(coarse, sinks[2])]
    mean, found = mean_maps(maps, [(4, 6), (4, 6), (2, 3)])
    torch.testing.assert_close(mean, (2 * fine.view(2, 4, 6) + 1) / 3)
    assert found == [0, 1]


def test_words_are_means_of_their_tokens_and_summed():
    maps = torch.rand(4, 2, 3)
    maps = maps / maps.sum(0)
    torch.testing.assert_close(combine(maps, [[0, 1], [3]]), (maps[0] + maps[1]) / 2 + maps[3])
    torch.testing.assert_close(combine(maps, [[0, 1], [3]], [1]), maps[0] + maps[3])
    left = maps[[0, 2, 3]].sum(0)
    torch.testing.assert_close(combine(maps, [[0, 1], [3]], [1], renormalise=True), (maps[0] + maps[3]) / left)
