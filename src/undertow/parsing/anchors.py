"""What an anchor says of the tokens: the label map of a frame, brought to the grid, void left out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from undertow.backbones import Backbone
from undertow.base import CueError, MemoryBudgetError, VideoError
from undertow.base import memory as machine
from undertow.export.cues import take
from undertow.export.taking import is_annotations
from undertow.masks import VOID, LabelMap, check_label_map, read_class_map, resize_nearest, soft_one_hot
from undertow.parsing.settings import ParseSettings
from undertow.runs.cues import Cue, described
from undertow.runs.task import Given
from undertow.video import Clip, Video

# Of a pixel: its probability in float32, and as much again while it is made.
BYTES_PER_CLASS = 8


def check_anchors(video: Video | Clip, anchors: Mapping[int, LabelMap]) -> dict[int, LabelMap]:
    """Returns the anchors as label maps of the video's size, in the order of their frames.

    In them 0 is a class like any other, and 65535 is void.

    Raises:
        CueError: if the video has no such frame, or an anchor has no class on any pixel.
        MaskError: if one is not a label map of the video's size.
        MemoryBudgetError: if there are so many classes that their probabilities would not fit in memory.
    """
    checked = {}
    for index in sorted(anchors):
        try:
            video.name_of(index)
        except VideoError as error:
            raise CueError(f"the anchor of frame {index} cannot be used: {error}") from error
        labels = np.asarray(anchors[index])
        # 8-bit arrays are classes here, not grey pictures of masks.
        labels = labels.astype(np.uint16) if labels.dtype == np.uint8 else labels
        source = f"the anchor of frame {index}"
        checked[index] = check_label_map(labels, size=(video.height, video.width), source=source)
        if (checked[index] == VOID).all():
            raise CueError(f"{source} is void everywhere; mark some of its pixels")
    # A depth map or a photograph of 16 bits is easily taken for a class map.
    count, there = len(classes_of(checked)), machine.available_memory()
    needed = BYTES_PER_CLASS * count * video.height * video.width
    if needed > there:
        raise MemoryBudgetError(
            f"the anchors have {count} classes, whose probabilities would need about {needed / 1e9:.1f} GB, and there "
            f"is {there / 1e9:.1f} GB; check that they are class maps, or give fewer classes"
        )
    return checked


def classes_of(anchors: Mapping[int, LabelMap]) -> tuple[int, ...]:
    """Returns the classes that occur, ascending, without void."""
    found: set[int] = set()
    for labels in anchors.values():
        found |= {int(value) for value in np.unique(labels)}
    return tuple(sorted(found - {VOID}))


def class_shares(anchors: Mapping[int, LabelMap], ids: Sequence[int]) -> Float[Tensor, " m"]:
    """Returns the share of each class in the pixels of all anchors that are not void."""
    counts = sum(np.bincount(labels.ravel(), minlength=VOID + 1) for labels in anchors.values())
    pixels = torch.from_numpy(np.asarray(counts)[list(ids)]).float()
    return pixels / pixels.sum()


def balanced(maps: Float[Tensor, "m h w"], shares: Float[Tensor, " k"], power: float) -> Float[Tensor, "m h w"]:
    """Returns probabilities that favour small classes: divided by shares to a power, and made to sum to one again.

    Menon et al., "Long-tail learning via logit adjustment", 2021, with a strength of our own; mIoU counts a small class
    as much as a large one. Maps after those of the k classes are of classes found later, and taken as they are.
    """
    if not power or not len(shares):
        return maps
    weights = torch.ones(len(maps), device=maps.device)
    weights[: len(shares)] = shares.to(maps.device).pow(-power)
    weighted = maps * weights[:, None, None]
    return weighted / weighted.sum(0).clamp(min=1e-12)


def token_labels(
    labels: LabelMap, ids: Sequence[int], grid: tuple[int, int]
) -> tuple[Float[Tensor, "s m"], Bool[Tensor, " s"]]:
    """Returns the share of each class in each token of an anchor, and which tokens are known.

    Shares are of the pixels that are not void; a token is unknown if more than half of it is void, or of other classes.
    """
    # Class 0 is a class, and object ids begin at 1: places among the ids, from 1, stand for them.
    places = np.zeros(VOID + 1, np.uint16)
    places[list(ids)] = np.arange(1, len(ids) + 1)
    soft = soft_one_hot(places[labels], range(1, len(ids) + 1), grid).flatten(1)
    known = soft[0] <= 0.5
    return (soft[1:] / soft[1:].sum(0).clamp(min=1e-6)).T, known


def nearest_labels(
    labels: LabelMap, ids: Sequence[int], grid: tuple[int, int]
) -> tuple[Float[Tensor, "s m"], Bool[Tensor, " s"]]:
    """Returns the class under the centre of each token, one-hot, and which tokens are known; the paper's way."""
    small = torch.from_numpy(resize_nearest(labels, grid).astype(np.int64)).flatten()
    one_hot = (small[:, None] == torch.tensor(list(ids))).float()
    return one_hot, one_hot.sum(1) > 0


def majority(
    assigned: Int[Tensor, " s"], targets: Float[Tensor, "s m"], known: Bool[Tensor, " s"]
) -> tuple[Float[Tensor, "s m"], Bool[Tensor, " s"]]:
    """Returns labels in which every token has the class that most of its cluster has on the anchor.

    Void tokens have no vote (in the released code of VidSeg they have); a cluster without any vote stays unknown. Of
    classes with the same votes the first wins.
    """
    votes = torch.zeros(int(assigned.max()) + 1, targets.shape[1])
    votes.index_add_(0, assigned[known], targets[known])
    winners = torch.nn.functional.one_hot(votes.argmax(1), targets.shape[1]).float()
    return winners[assigned], votes.sum(1)[assigned] > 0


def gather(
    cues: Sequence[Cue], clip: Clip, model: Callable[[], Backbone], settings: ParseSettings
) -> Given[Mapping[int, LabelMap]]:
    """Returns the class map of each frame that anchors are on; 0 is a class like any other, white is void.

    Raises:
        CueError: if a frame has two anchors.
        MaskError: if a file is not a class map of the video's size.
    """
    anchors: dict[int, LabelMap] = {}
    for cue in cues:
        if is_annotations(cue.value):
            found = take(cue.value, clip, cue.at).masks()
        else:
            found = {cue.frame: read_class_map(cue.value, size=(clip.height, clip.width))}
        if both := sorted(anchors.keys() & found.keys()):
            raise CueError(f"frame {both[0]} has two anchors; give one of them")
        anchors |= found
    return given_anchors(clip, anchors, [cue.log for cue in cues])


def given_anchors(
    video: Video | Clip, anchors: Mapping[int, LabelMap], typed: Sequence[Mapping[str, Any]] = ()
) -> Given[Mapping[int, LabelMap]]:
    """Returns class maps by frame number as cues of a run.

    Args:
        video: The video.
        anchors: The class maps; none for clusters.
        typed: What the user typed, for the log in run.json.

    Raises:
        CueError, MaskError: if one does not fit the video.
    """
    checked = check_anchors(video, anchors)
    digests = (described(index, labels) for index, labels in checked.items())
    return Given(checked, (*typed, *digests), tuple(checked))
