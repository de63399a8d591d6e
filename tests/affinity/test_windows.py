"""Tiles and what is around them."""

import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from undertow.affinity.windows import around_tokens


@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.one_of(st.none(), st.integers(0, 12)),
    st.integers(0, 4),
)
def test_tiles_around_tokens_are_those_of_which_a_window_holds_one(grid, radius, count):
    random = torch.Generator().manual_seed(count)
    tokens = torch.zeros(grid, dtype=torch.bool)
    for _ in range(count):
        tokens[int(torch.randint(grid[0], (), generator=random)), int(torch.randint(grid[1], (), generator=random))] = 1
    expected = torch.zeros_like(tokens)
    for row, column in torch.ones(grid).nonzero().tolist():
        for y, x in tokens.nonzero().tolist():
            if radius is None or max(abs(y - row), abs(x - column)) <= radius:
                expected[row // 8 * 8 : row // 8 * 8 + 8, column // 8 * 8 : column // 8 * 8 + 8] = True
    assert torch.equal(around_tokens(tokens, radius), expected)
