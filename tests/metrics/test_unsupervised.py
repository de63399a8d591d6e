import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from undertow.metrics.davis import MASK_RULES, MaskRules
from undertow.metrics.similarity import contour_accuracy, region_similarity
from undertow.metrics.unsupervised import ProposalEvaluator

VOID = 65535
CLIPS = st.integers(1, 4).flatmap(
    lambda count: st.tuples(
        arrays.arrays(np.uint16, (count, 7, 9), elements=st.sampled_from([0, 1, 2, 4, 7, VOID])),
        arrays.arrays(np.uint16, (count, 7, 9), elements=st.sampled_from([0, 1, 2, 3, VOID])),
    )
)


def frame(**places: int) -> np.ndarray:
    """Squares on a 30 x 60 image, by the names a, b, c, d of their places; the value is the id."""
    labels = np.zeros((30, 60), np.uint16)
    for place, number in places.items():
        left = 14 * "abcd".index(place) + 2
        labels[8:18, left : left + 10] = number
    return labels


def evaluate(pred: list[np.ndarray], true: list[np.ndarray], ids: list[int]) -> ProposalEvaluator:
    evaluator = ProposalEvaluator(ids)
    for pair in zip(pred, true, strict=True):
        evaluator.update(*pair)
    return evaluator


@settings(max_examples=40, deadline=None)
@given(CLIPS)
def test_equals_the_definition_on_whole_stacks(clip: tuple[np.ndarray, np.ndarray]) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    pred, true = clip
    ids, proposals = [1, 2, 3], max(3, int(pred[pred != VOID].max(initial=0)))
    scores = np.zeros((2, proposals, 3, len(pred)))
    for row in range(proposals):
        for column, number in enumerate(ids):
            for time in range(len(pred)):
                masks = pred[time] == row + 1, true[time] == number, true[time] == VOID
                scores[:, row, column, time] = region_similarity(*masks), contour_accuracy(*masks)
    rows, columns = optimize.linear_sum_assignment(-((scores[0].mean(2) + scores[1].mean(2)) / 2))
    result = evaluate(list(pred), list(true), ids).result()
    for row, column in zip(rows, columns, strict=True):
        assert result[ids[column]].region.tolist() == scores[0, row, column].tolist()
        assert result[ids[column]].contour.tolist() == scores[1, row, column].tolist()


def test_names_do_not_matter_and_all_frames_count() -> None:
    true = [frame(a=1, b=2), frame(a=1, b=2), frame(a=1)]
    pred = [frame(a=9, b=4), frame(a=9, b=4), frame(a=9, b=4)]
    evaluator = evaluate(pred, true, [1, 2])
    assert evaluator.matches() == {1: 9, 2: 4}
    result = evaluator.result()
    assert result[1].region.tolist() == [1.0, 1.0, 1.0]
    assert result[2].region.tolist() == result[2].contour.tolist() == [1.0, 1.0, 0.0]


def test_a_match_is_for_the_whole_sequence() -> None:
    # The proposals swap places on the last of three frames, and no object may follow them.
    true = [frame(a=1, b=2)] * 3
    pred = [frame(a=1, b=2), frame(a=1, b=2), frame(a=2, b=1)]
    assert [each.region.tolist() for each in evaluate(pred, true, [1, 2]).result().values()] == [[1.0, 1.0, 0.0]] * 2


def test_a_proposal_inside_void_is_there_and_empty() -> None:
    # The only pixel that is not void belongs to proposal 1; with 2 to 4 empty, all three empty objects are matched.
    pred, true = np.zeros((1, 4), np.uint16), np.full((1, 4), VOID, np.uint16)
    pred[0, :2], true[0, 0] = (1, 4), 0
    result = evaluate([pred], [true], [1, 2, 3]).result()
    assert [each.region.tolist() for each in result.values()] == [[1.0]] * 3


def test_more_proposals_than_objects_cost_nothing() -> None:
    true, pred = [frame(a=1)] * 3, [frame(a=3, b=1, c=2, d=20)] * 3
    evaluator = evaluate(pred, true, [1])
    assert evaluator.matches() == {1: 3}
    assert evaluator.result()[1].combined.tolist() == [1.0] * 3


def test_an_object_without_proposal_is_scored_against_nothing() -> None:
    true, pred = [frame(a=1, b=2), frame(a=1, b=2), frame(a=1)], [frame(a=1)] * 3
    evaluator = evaluate(pred, true, [1, 2])
    assert evaluator.matches() == {1: 1, 2: None}
    assert evaluator.result()[2].region.tolist() == [0.0, 0.0, 1.0]


def test_a_proposal_that_comes_later_was_empty_before() -> None:
    true, pred = [frame(a=1)] * 3, [frame(), frame(a=5), frame(a=5)]
    evaluator = evaluate(pred, true, [1])
    assert evaluator.result()[1].region.tolist() == [0.0, 1.0, 1.0]
    assert evaluator.matches() == {1: 5}


def test_of_equal_proposals_one_is_taken() -> None:
    # Two halves of one object score alike, and the object counts half either way.
    half = frame()
    half[8:13, 2:12], half[13:18, 2:12] = 1, 2
    evaluator = evaluate([half] * 2, [frame(a=1)] * 2, [1])
    assert evaluator.result()[1].region.tolist() == [0.5, 0.5]


def test_void_leaves_both_sides() -> None:
    true = frame(a=1, b=VOID)
    pred = frame(a=1, b=1)
    result = evaluate([pred], [true], [1]).result()[1]
    assert (result.region.tolist(), result.contour.tolist()) == ([1.0], [1.0])
    # A prediction's own void is nobody's proposal.
    assert evaluate([frame(a=1, b=VOID)], [frame(a=1)], [1]).result()[1].region.tolist() == [1.0]


def test_at_most_twenty_proposals() -> None:
    evaluator = ProposalEvaluator([1])
    evaluator.update(frame(a=20), frame(a=1))
    with pytest.raises(ValueError, match="id 21, but at most 20"):
        evaluator.update(frame(a=21), frame(a=1))


def test_more_objects_than_proposals_are_allowed() -> None:
    rules = MaskRules(first=True, last=True, void="ignored", proposals=1)
    evaluator = ProposalEvaluator([1, 2, 3], rules)
    evaluator.update(frame(b=1), frame(a=1, b=2, c=3))
    assert {number: scores.region.tolist() for number, scores in evaluator.result().items()} == {
        1: [0.0],
        2: [1.0],
        3: [0.0],
    }


def test_nothing_yet_is_nothing() -> None:
    assert ProposalEvaluator([1]).result()[1].region.shape == (0,)
    assert ProposalEvaluator([1]).matches() == {1: None}
    assert evaluate([frame(a=1)], [frame()], []).result() == {}


def test_rules_without_proposals_are_refused() -> None:
    with pytest.raises(ValueError, match="use SequenceEvaluator"):
        ProposalEvaluator([1], MASK_RULES["davis-2017"])
