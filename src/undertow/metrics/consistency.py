"""mVC_n, video consistency: of the pixels whose label stays the same for n frames, how many are predicted so.

The published definition compares every frame of every window of n frames with the window's first one. A pixel is
constant over a window exactly when its current run of equal labels is n frames long or longer, so one counter per pixel
replaces the n comparisons, and only the latest frame is kept.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int32, Integer

ConsistencyMode = Literal["official", "strict"]


@dataclass(frozen=True, eq=False)
class Consistency:
    """The windows of one video, or with `+` of several.

    Attributes:
        ratios: For every window length n, each window's share of steady pixels that are predicted steady, in order
            of time; NaN for a window in which truth holds no steady pixel.
    """

    ratios: Mapping[int, Float64[np.ndarray, " windows"]]

    def mean(self, window: int) -> float:
        """Returns mVC_n in [0, 1] over all windows of all videos together, NaN windows left out; NaN if none is left.

        Pooled, as the official script has it: a long video weighs more than a short one.

        Raises:
            ValueError: if windows of this length were not counted.
        """
        if window not in self.ratios:
            raise ValueError(f"windows of {window} frames were not counted, only of {sorted(self.ratios)}")
        known = self.ratios[window][~np.isnan(self.ratios[window])]
        return float(known.mean()) if known.size else float("nan")

    def __add__(self, other: "Consistency") -> "Consistency":
        """Returns the windows of both.

        Raises:
            ValueError: if they differ in window lengths.
        """
        if self.ratios.keys() != other.ratios.keys():
            raise ValueError(f"window lengths differ: {sorted(self.ratios)} and {sorted(other.ratios)}")
        return Consistency({n: np.concatenate((self.ratios[n], other.ratios[n])) for n in self.ratios})


class ConsistencyEvaluator:
    """Measures mVC_n of one video, frame by frame, with two counters per pixel whatever the length.

    In mode `official` a window's score is |steady in truth and in prediction| / |steady in truth|. It equals the
    script published with VSPW, quirks included: void counts as a class like any other; nothing is said about whether
    the prediction is right, so a constant prediction scores 1; the last window is dropped, so that a video of n
    frames or fewer has none.

    In mode `strict` the steady prediction must also be the true label, void pixels are steady nowhere, and all
    L - n + 1 windows of a video of L frames count.

    Args:
        windows: The lengths n to measure, in frames.
        mode: `official` or `strict`.
        void: Values of truth that stand for no class; mode `official` takes no heed of them.

    Raises:
        ValueError: if a window is shorter than a frame or the mode is unknown.

    Source: Miao et al., "VSPW: A Large-scale Dataset for Video Scene Parsing in the Wild", CVPR 2021.
    """

    def __init__(
        self, windows: Sequence[int] = (8, 16), mode: ConsistencyMode = "official", void: Collection[int] = ()
    ) -> None:
        if not windows or min(windows) < 1:
            raise ValueError(f"windows must be of one frame or more, found {tuple(windows)}")
        if mode not in ("official", "strict"):
            raise ValueError(f"the mode is official or strict, found {mode!r}")
        self.mode, self.void = mode, tuple(void)
        self._ratios: dict[int, list[float]] = {n: [] for n in sorted(set(windows))}
        # The official script drops a video's last window, and which one is last shows only at the end.
        self._held: dict[int, float] = {}
        self._last: tuple[Integer[np.ndarray, "h w"], Integer[np.ndarray, "h w"]] | None = None
        self._run_pred: Int32[np.ndarray, "h w"] = np.zeros((0, 0), np.int32)
        self._run_true: Int32[np.ndarray, "h w"] = np.zeros((0, 0), np.int32)
        self._since_anchor = 0

    def update(
        self, pred: Integer[np.ndarray, "h w"], true: Integer[np.ndarray, "h w"], *, anchor: bool = False
    ) -> None:
        """Adds the next frame.

        Args:
            pred: Predicted labels.
            true: True labels.
            anchor: Whether truth was given to the method on this frame. Windows that hold such a frame are left out;
                without any anchor the numbers are the published ones.

        Raises:
            ValueError: if the maps differ in size, from each other or from those of earlier frames.
        """
        size = pred.shape if self._last is None else self._last[0].shape
        if pred.ndim != 2 or pred.shape != true.shape or pred.shape != size:
            raise ValueError(f"label maps must be two-dimensional and of one size, found {pred.shape}, {true.shape}")
        for n, ratio in self._held.items():
            self._ratios[n].append(ratio)
        self._count_runs(pred, true)
        self._last = pred.copy(), true.copy()
        self._since_anchor = 0 if anchor else self._since_anchor + 1
        self._held = {n: self._ratio(n) for n in self._ratios if n <= self._since_anchor}

    def result(self) -> Consistency:
        """Returns the windows of the frames so far, as if the video ended here."""
        ratios = {n: values.copy() for n, values in self._ratios.items()}
        if self.mode == "strict":
            for n, ratio in self._held.items():
                ratios[n].append(ratio)
        return Consistency({n: np.array(values, np.float64) for n, values in ratios.items()})

    def _count_runs(self, pred: Integer[np.ndarray, "h w"], true: Integer[np.ndarray, "h w"]) -> None:
        """Brings every pixel's counters up to the new frame: for how many frames it has been steady."""
        if self._last is None:
            self._run_pred, self._run_true = np.zeros(pred.shape, np.int32), np.zeros(pred.shape, np.int32)
            same_pred = same_true = np.ones(pred.shape, bool)
        else:
            same_pred, same_true = pred == self._last[0], true == self._last[1]
        # A run that breaks starts anew with this frame, at 1.
        self._run_true = np.where(same_true, self._run_true + 1, 1)
        if self.mode == "official":
            self._run_pred = np.where(same_pred, self._run_pred + 1, 1)
            return
        # Right n times in a row where truth is steady is steady and right; one wrong frame ends the run.
        valid: Bool[np.ndarray, "h w"] = ~np.isin(true, self.void)
        self._run_true = np.where(valid, self._run_true, 0)
        self._run_pred = np.where(pred == true, self._run_pred + 1, 0)

    def _ratio(self, n: int) -> float:
        """Returns the score of the window of n frames that ends here, NaN if truth is steady nowhere."""
        steady = self._run_true >= n
        whole = int(np.count_nonzero(steady))
        return int(np.count_nonzero(steady & (self._run_pred >= n))) / whole if whole else float("nan")
