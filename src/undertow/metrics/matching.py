"""Which prediction belongs to which object, and which label a cluster stands for, where names are the method's own.

The modes of matching unsupervised clusters to classes work on counts of how many pixels a cluster shares with a label,
so that a clip is matched without keeping it. They use ever more of the truth, and their scores are never comparable:
name the mode beside every number.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int64, Integer, UInt16


def best_assignment(
    scores: Float[np.ndarray, "n m"],
) -> tuple[Int64[np.ndarray, " pairs"], Int64[np.ndarray, " pairs"]]:
    """Returns the rows and columns of the one-to-one pairs whose scores have the greatest sum, by ascending row.

    There are min(n, m) pairs. Of several equally good assignments it gives the one that the official evaluators get,
    since it asks the same solver.

    Raises:
        ValueError: if the scores are no matrix of finite numbers.
        ImportError: if scipy is not installed.

    Source: Kuhn, "The Hungarian Method for the Assignment Problem", 1955.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise ValueError(f"scores to be assigned must be a matrix of finite numbers, found shape {scores.shape}")
    try:
        from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise ImportError("matching objects needs scipy; run: pip install 'undertow[bench]'") from error
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return rows, columns


MatchingMode = Literal["anchor-majority", "hungarian-per-frame", "hungarian-per-video", "majority-per-video"]

UNMATCHED = -1
VOID = np.iinfo(np.uint16).max


def count_overlaps(
    clusters: Integer[np.ndarray, "*pixels"],
    labels: Integer[np.ndarray, "*pixels"],
    cluster_count: int,
    label_count: int,
) -> Int64[np.ndarray, "k n"]:
    """Returns how many pixels each of k clusters shares with each of n labels.

    Pixels whose label is void, or anything else outside 0 to n - 1, count nowhere: a cluster that lies mostly on void
    still goes to the label it shares most with. Pixels of no cluster (outside 0 to k - 1) are left out too.

    Raises:
        ValueError: if the maps differ in size.
    """
    if clusters.shape != labels.shape:
        raise ValueError(f"cluster and label maps must be of one size, found {clusters.shape} and {labels.shape}")
    kept = (labels >= 0) & (labels < label_count) & (clusters >= 0) & (clusters < cluster_count)
    codes = clusters[kept].astype(np.int64) * label_count + labels[kept].astype(np.int64)
    return np.bincount(codes, minlength=cluster_count * label_count).reshape(cluster_count, label_count)


def match_majority(overlaps: Integer[np.ndarray, "k n"]) -> Int64[np.ndarray, " k"]:
    """Returns for every cluster the label it shares most pixels with, so that many clusters may go to one label.

    The lower label wins a tie. A cluster without a labelled pixel is `UNMATCHED`.

        >>> match_majority(np.array([[9, 1], [0, 4], [0, 0]])).tolist() == [0, 1, UNMATCHED]
        True
    """
    if not overlaps.size:
        return np.full(len(overlaps), UNMATCHED, np.int64)
    return np.where(overlaps.max(axis=1) > 0, overlaps.argmax(axis=1), UNMATCHED).astype(np.int64)


def match_hungarian(overlaps: Integer[np.ndarray, "k n"]) -> Int64[np.ndarray, " k"]:
    """Returns the one-to-one matching of clusters to labels that shares most pixels in all.

    Clusters left over, because there are more of them than labels, are `UNMATCHED`, and so is one whose label shares
    no pixel with it. Among equally good matchings scipy's solver picks one, the same every time.

    Raises:
        ImportError: if scipy is not installed.
    """
    mapping = np.full(len(overlaps), UNMATCHED, np.int64)
    clusters, labels = best_assignment(overlaps)
    shared = overlaps[clusters, labels] > 0
    mapping[clusters[shared]] = labels[shared]
    return mapping


def match_clusters(
    overlaps: Integer[np.ndarray, "t k n"], mode: MatchingMode, anchors: Sequence[int] = (0,)
) -> Int64[np.ndarray, "t k"]:
    """Returns the label of every cluster on every frame of a video, `UNMATCHED` where it has none.

    Args:
        overlaps: `count_overlaps` of every frame.
        mode: How to match.
            `anchor-majority`: majority on the anchor frames; the only mode that reads no other truth, and VidSeg's.
            `hungarian-per-frame`: one-to-one, each frame by itself; blind to whether clusters stay the same in time.
            `hungarian-per-video`: one-to-one, one matching for the clip.
            `majority-per-video`: majority over the clip; an upper bound that many clusters always raise.
        anchors: Frames whose truth is given; used by `anchor-majority` alone.

    Raises:
        ValueError: if the mode is unknown, or an anchor is needed and there is none or it is not a frame.
    """
    if mode == "hungarian-per-frame":
        return np.array([match_hungarian(frame) for frame in overlaps], np.int64).reshape(overlaps.shape[:2])
    if mode == "anchor-majority":
        if not anchors or min(anchors) < 0 or max(anchors) >= len(overlaps):
            raise ValueError(f"anchors must be frames of the video's {len(overlaps)}, found {tuple(anchors)}")
        mapping = match_majority(overlaps[list(anchors)].sum(axis=0))
    elif mode == "majority-per-video":
        mapping = match_majority(overlaps.sum(axis=0))
    elif mode == "hungarian-per-video":
        mapping = match_hungarian(overlaps.sum(axis=0))
    else:
        raise ValueError(f"the matching mode is one of {', '.join(get_args(MatchingMode))}, found {mode!r}")
    return np.tile(mapping, (len(overlaps), 1))


def apply_mapping(
    clusters: Integer[np.ndarray, "*pixels"], mapping: Integer[np.ndarray, " k"]
) -> UInt16[np.ndarray, "*pixels"]:
    """Returns the label map that `mapping` makes of a cluster map.

    Pixels of an unmatched cluster, or of none, become void (65535), which `ConfusionMatrix` counts as *unknown*.
    """
    table = np.append(np.where(mapping < 0, VOID, mapping), VOID).astype(np.uint16)
    known = (clusters >= 0) & (clusters < len(mapping))
    return table[np.where(known, clusters, len(mapping))]
