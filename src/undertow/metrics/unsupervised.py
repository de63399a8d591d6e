"""Scores of masks whose ids are the method's own: proposals are matched with the annotated objects first."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float64, UInt16

from undertow.metrics.davis import MASK_RULES, VOID, MaskRules, ObjectScores, apply_rules
from undertow.metrics.matching import best_assignment
from undertow.metrics.similarity import score_pairs


class ProposalEvaluator:
    """Scores one sequence frame by frame, keeping two numbers per proposal, object and frame.

    Feed it every annotated frame in order. Each annotated object gets the proposal that makes the sum over objects of
    the sequence's mean (J + F) / 2 largest; no proposal serves two. An object that is left without one is scored
    against empty masks: 0 where it is to be seen, 1 where it is not.

    Source: davis2017-evaluation, unsupervised task (Caelles et al., "The 2019 DAVIS Challenge on VOS", 2019).
    """

    def __init__(self, ids: Iterable[int], rules: MaskRules = MASK_RULES["davis-unsupervised"]) -> None:
        """Starts a sequence.

        Args:
            ids: The annotated objects; the official evaluator has `davis_ids` of the first frame.
            rules: Which frames and pixels count, and the highest id a proposal may have.

        Raises:
            ValueError: if the rules do not match proposals.
        """
        if rules.proposals is None:
            raise ValueError("these rules take a prediction's ids as they are; use SequenceEvaluator")
        self.rules = rules
        self.ids = tuple(ids)
        # There are never fewer proposals than objects: those that do not occur are empty.
        self._proposals = range(1, max(rules.proposals, len(self.ids)) + 1)
        self._scores: list[Float64[np.ndarray, "p n 2"]] = []
        self._highest = 0

    def update(self, pred: UInt16[np.ndarray, "h w"], true: UInt16[np.ndarray, "h w"]) -> None:
        """Takes in one frame; void pixels of the prediction belong to no proposal.

        Raises:
            ValueError: if the maps differ in size, or the prediction has an id above the highest allowed.
        """
        # Proposals are counted before void is taken out: one that lies in it is there, and empty.
        highest = int(np.max(pred, initial=0, where=pred != VOID))
        pred, true = apply_rules(self.rules, pred, true)
        if self.rules.proposals is not None and highest > self.rules.proposals:
            raise ValueError(
                f"the prediction has id {highest}, but at most {self.rules.proposals} proposals are allowed; "
                f"number them 1 to {self.rules.proposals}"
            )
        self._highest = max(self._highest, highest)
        self._scores.append(score_pairs(pred, true, self._proposals, self.ids))

    def matches(self) -> dict[int, int | None]:
        """Returns by object the id of the proposal it is given over the frames so far, `None` for an empty one."""
        matches: dict[int, int | None] = dict.fromkeys(self.ids)
        for row, column in self._assignment():
            matches[self.ids[column]] = row + 1 if row < self._highest else None
        return matches

    def result(self) -> dict[int, ObjectScores]:
        """Returns the scores of each object with the proposal it is given, on the frames so far that count."""
        table = self._table()
        empty = np.zeros(0, np.float64)
        results = {number: ObjectScores(empty, empty) for number in self.ids}
        for row, column in self._assignment():
            region, contour = table[:, row, column, 0], table[:, row, column, 1]
            results[self.ids[column]] = ObjectScores(region.copy(), contour.copy())
        return results

    def _table(self) -> Float64[np.ndarray, "t p n 2"]:
        """Returns all scores of the frames that count, for proposals that occur and as many as there are objects."""
        counted = self._scores[0 if self.rules.first else 1 : None if self.rules.last else -1]
        shape = len(counted), len(self._proposals), len(self.ids), 2
        table = np.array(counted, np.float64).reshape(shape)
        return table[:, : max(self._highest, len(self.ids))]

    def _assignment(self) -> list[tuple[int, int]]:
        """Returns the matched (row of the table, column of the table)."""
        table = self._table()
        if not table.size:
            return []
        region, contour = (np.ascontiguousarray(np.moveaxis(table[..., kind], 0, -1)) for kind in (0, 1))
        rows, columns = best_assignment((region.mean(axis=-1) + contour.mean(axis=-1)) / 2)
        return list(zip(rows.tolist(), columns.tolist(), strict=True))
