"""What a tracker says of one frame: its label map, and how sure it is of each object."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from undertow.export.converting import annotations, detections
from undertow.export.run import SoftMasks
from undertow.masks import LabelMap
from undertow.video import Frame


@dataclass(frozen=True)
class ObjectScore:
    """How sure one object is on one frame.

    Attributes:
        area: Pixels at native size.
        margin: Mean over the object's pixels of best minus second soft label; 1 on a frame whose mask was given.
        mass: Kernel mass kept before renormalising, averaged over the object; 1 on a frame whose mask was given.
        presence: Probability that the object is where its mask says, or was to say (see `PresenceModel`); 0 if it is
            nowhere, 1 on a frame whose mask was given.
        lost: Whether the object is not believed to be there, because its presence is low or it has no pixels.
    """

    area: int
    margin: float
    mass: float
    presence: float = 1.0
    lost: bool = False


@dataclass(frozen=True)
class TrackResult:
    """The result of one frame: label map at native size, scores by object id, and the frame's number, time and name.

        result.labels == 1, result.scores[1].margin

    Attributes:
        index: 0-based number of the frame in the video.
        time: Exact time in seconds.
        name: Stem of the frame's files.
        labels: The label map.
        scores: Scores of each object, by id.
        soft: Soft masks on the token grid, if the settings' `keep_soft` is set.
    """

    index: int
    time: Fraction
    name: str
    labels: LabelMap
    scores: Mapping[int, ObjectScore]
    soft: SoftMasks | None = None

    def to_supervision(self) -> Any:
        """Returns the objects as `supervision.Detections`, with ids as `tracker_id`; needs supervision."""
        return detections(self.labels)

    def to_coco(self) -> list[dict[str, Any]]:
        """Returns the objects as COCO annotations with compressed run lengths and `track_id`."""
        return annotations(self.labels)


class Tracked(NamedTuple):
    """A frame with its result, and what that was decided from: soft labels of `ids` on the grid, background first."""

    frame: Frame
    result: TrackResult
    soft: Float[Tensor, "m h w"]
    ids: tuple[int, ...]
