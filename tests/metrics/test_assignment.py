import itertools
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.metrics.assignment import best_assignment


def greatest_sum(scores: np.ndarray) -> float:
    """Tries every way."""
    rows, columns = scores.shape
    if rows > columns:
        return greatest_sum(scores.T)
    return max(
        sum(scores[row, column] for row, column in enumerate(chosen))
        for chosen in itertools.permutations(range(columns), rows)
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_no_assignment_is_better(rows: int, columns: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(-3, 4, (rows, columns)) / 3
    first, second = best_assignment(scores)
    assert scores[first, second].sum() == pytest.approx(greatest_sum(scores))
    assert len(set(first)) == len(set(second)) == min(rows, columns)
    assert first.tolist() == sorted(first)


def test_the_best_sum_is_not_the_greedy_one() -> None:
    # Greedy takes 0.9 and is left with 0.1; the other diagonal has 0.8 + 0.8.
    rows, columns = best_assignment(np.array([[0.9, 0.8], [0.8, 0.1]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


@pytest.mark.parametrize("scores", [np.zeros(3), np.array([[1.0, np.nan]]), np.array([[np.inf]])])
def test_scores_must_be_a_matrix_of_numbers(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="matrix of finite numbers"):
        best_assignment(scores)


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r"pip install 'undertow\[bench\]'"):
        best_assignment(np.eye(2))
