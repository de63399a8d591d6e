import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.metrics.calibration import (
    area_under_risk_coverage,
    area_under_roc,
    average_ranks,
    expected_calibration_error,
    rank_correlation,
    reliability_table,
    risk_coverage,
)

# Tenths, so that there are ties.
TENTHS = st.integers(0, 10).map(lambda value: value / 10)
PAIRS = st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=30).map(lambda rows: np.array(rows).T)
BINNINGS = st.sampled_from(["quantile", "width"])


def test_equal_width_bins_by_hand() -> None:
    table = reliability_table([0.05, 0.15, 0.95, 1.0, 0.5], [0.0, 1.0, 1.0, 0.5, 0.2], bins=4, binning="width")
    assert [(one.low, one.high, one.count) for one in table] == [(0.0, 0.25, 2), (0.5, 0.75, 1), (0.75, 1.0, 2)]
    assert [one.confidence for one in table] == pytest.approx([0.1, 0.5, 0.975])
    assert [one.score for one in table] == pytest.approx([0.5, 0.2, 0.75])
    error = expected_calibration_error([0.05, 0.15, 0.95, 1.0, 0.5], [0.0, 1.0, 1.0, 0.5, 0.2], bins=4, binning="width")
    assert error == pytest.approx((2 * 0.4 + 0.3 + 2 * 0.225) / 5)


def test_quantile_bins_have_about_equal_counts() -> None:
    values = np.random.default_rng(0).random(1000) ** 3
    table = reliability_table(values, values, bins=10)
    assert [one.count for one in table] == [100] * 10
    assert table[0].low == values.min() and table[-1].high == values.max()


def test_equal_confidences_share_a_bin() -> None:
    table = reliability_table([0.3] * 7, [0, 1, 0, 1, 0, 1, 1], bins=5)
    assert [(one.low, one.high, one.count) for one in table] == [(0.3, 0.3, 7)]
    assert table[0].score == pytest.approx(4 / 7)
    values = np.array([0.1] * 8 + [0.2, 0.3])
    table = reliability_table(values, values, bins=4)
    assert [(one.low, one.high, one.count) for one in table] == [(0.1, 0.1, 8), (0.2, 0.3, 2)]


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.integers(1, 12), BINNINGS)
def test_bins_hold_everything_once_and_agree_with_the_mean(pairs: np.ndarray, bins: int, binning: str) -> None:
    table = reliability_table(*pairs, bins=bins, binning=binning)
    counts = [one.count for one in table]
    assert sum(counts) == pairs.shape[1] and min(counts) > 0 and len(table) <= bins
    assert np.average([one.score for one in table], weights=counts) == pytest.approx(pairs[1].mean())
    assert np.average([one.confidence for one in table], weights=counts) == pytest.approx(pairs[0].mean())
    for one, after in itertools.pairwise(table):
        assert one.high <= after.low and one.confidence < after.confidence
    assert all(one.low - 1e-12 <= one.confidence <= one.high + 1e-12 for one in table)
    # Every bin's error is at least the error of the whole, weighed.
    error = expected_calibration_error(*pairs, bins=bins, binning=binning)
    assert abs(pairs[0].mean() - pairs[1].mean()) - 1e-12 <= error <= 1


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.integers(1, 12), BINNINGS)
def test_a_confidence_that_is_the_score_is_calibrated(pairs: np.ndarray, bins: int, binning: str) -> None:
    assert expected_calibration_error(pairs[0], pairs[0], bins=bins, binning=binning) == pytest.approx(0, abs=1e-12)


def test_what_cannot_be_binned_is_refused() -> None:
    with pytest.raises(ValueError, match="bins is 0"):
        reliability_table([0.1], [0.2], bins=0)
    with pytest.raises(ValueError, match=r"in \[0, 1\], found"):
        reliability_table([-3.0, 0.4], [0.2, 0.1], binning="width")
    with pytest.raises(ValueError, match="choose quantile or width"):
        reliability_table([0.1], [0.2], binning="equal")


def test_ties_share_their_mean_rank() -> None:
    assert average_ranks([30, 10, 20, 10]).tolist() == [4.0, 1.5, 3.0, 1.5]


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_ranks_and_their_correlation_are_those_of_scipy(pairs: np.ndarray) -> None:
    stats = pytest.importorskip("scipy.stats")
    np.testing.assert_allclose(average_ranks(pairs[0]), stats.rankdata(pairs[0]))
    if len(set(pairs[0])) == 1 or len(set(pairs[1])) == 1:
        assert np.isnan(rank_correlation(*pairs))
    else:
        assert rank_correlation(*pairs) == pytest.approx(stats.spearmanr(*pairs).statistic)


def test_rank_correlation_by_hand() -> None:
    # Ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15).
    assert rank_correlation([0.1, 0.2, 0.3, 0.4], [5, 2, 100, 9]) == pytest.approx(0.6)
    assert rank_correlation([1, 2, 3], [-1, -8, -27]) == -1.0


def test_roc_by_hand() -> None:
    # Failures at 0.2 and 0.6, successes at 0.6 and 0.9: of four pairs three are right and one is a tie.
    assert area_under_roc([0.2, 0.6, 0.6, 0.9], [0.1, 0.49, 0.5, 1.0]) == 3.5 / 4
    assert area_under_roc([0.9, 0.1], [0.0, 1.0]) == 0.0
    assert area_under_roc([0.9, 0.1], [0.6, 0.7], failed_below=0.65) == 0.0


def test_roc_needs_failures_and_successes() -> None:
    assert np.isnan(area_under_roc([0.2, 0.3], [0.1, 0.2])) and np.isnan(area_under_roc([0.2, 0.3], [0.6, 0.7]))


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_roc_counts_pairs(pairs: np.ndarray) -> None:
    good, bad = pairs[0][pairs[1] >= 0.5], pairs[0][pairs[1] < 0.5]
    wins = [1.0 if one > other else 0.5 if one == other else 0.0 for one in good for other in bad]
    expected = sum(wins) / len(wins) if wins else float("nan")
    assert area_under_roc(*pairs) == pytest.approx(expected, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_only_the_order_of_confidences_matters(pairs: np.ndarray) -> None:
    confidence, score = pairs
    other = np.exp(3 * confidence) - 7
    assert area_under_roc(other, score) == pytest.approx(area_under_roc(confidence, score), nan_ok=True)
    assert area_under_roc(-confidence, score) == pytest.approx(1 - area_under_roc(confidence, score), nan_ok=True)
    assert rank_correlation(other, score) == pytest.approx(rank_correlation(confidence, score), nan_ok=True)
    assert area_under_risk_coverage(other, score) == pytest.approx(area_under_risk_coverage(confidence, score))


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.randoms())
def test_the_order_of_the_things_does_not_matter(pairs: np.ndarray, random) -> None:
    order = list(range(pairs.shape[1]))
    random.shuffle(order)
    for measure in (area_under_roc, rank_correlation, area_under_risk_coverage, expected_calibration_error):
        assert measure(*pairs[:, order]) == pytest.approx(measure(*pairs), nan_ok=True)


def test_risk_coverage_by_hand() -> None:
    coverage, risk = risk_coverage([0.9, 0.1, 0.5, 0.5], [1.0, 0.0, 0.8, 0.4])
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    # The two of confidence 0.5 have a mean risk of 0.4 each.
    assert risk.tolist() == pytest.approx([0.0, 0.2, 0.8 / 3, 1.8 / 4])
    assert area_under_risk_coverage([0.9, 0.1, 0.5, 0.5], [1.0, 0.0, 0.8, 0.4]) == pytest.approx(risk.mean())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=6).map(lambda rows: np.array(rows).T))
def test_ties_come_in_as_the_mean_over_all_orders(pairs: np.ndarray) -> None:
    confidence, score = pairs
    orders = [
        order
        for order in itertools.permutations(range(len(score)))
        if all(confidence[one] >= confidence[other] for one, other in itertools.pairwise(order))
    ]
    risks = [np.cumsum(1 - score[list(order)]) / np.arange(1, len(score) + 1) for order in orders]
    np.testing.assert_allclose(risk_coverage(confidence, score)[1], np.mean(risks, axis=0))


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_area_lies_between_the_best_and_the_worst_order(pairs: np.ndarray) -> None:
    confidence, score = pairs
    area = area_under_risk_coverage(confidence, score)
    assert area_under_risk_coverage(score, score) - 1e-12 <= area <= area_under_risk_coverage(-score, score) + 1e-12
    assert area_under_risk_coverage(np.full_like(score, 0.3), score) == pytest.approx(1 - score.mean())
    assert risk_coverage(confidence, score)[1][-1] == pytest.approx(1 - score.mean())


@pytest.mark.parametrize(
    "measure",
    [area_under_roc, rank_correlation, area_under_risk_coverage, expected_calibration_error, reliability_table],
)
def test_what_cannot_be_judged_is_refused(measure) -> None:
    for confidence, score, message in (
        ([], [], "non-empty"),
        ([[0.1]], [[0.2]], "non-empty list"),
        ([0.1, 0.2], [0.3], "2 confidences but 1 scores"),
        ([0.1, float("nan")], [0.3, 0.2], "finite"),
        ([0.1, 0.2], [float("inf"), 0.2], "finite"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(confidence, score)


def test_risk_needs_scores_in_the_unit_interval() -> None:
    with pytest.raises(ValueError, match=r"scores in \[0, 1\]"):
        risk_coverage([0.1, 0.2], [0.3, 1.2])
