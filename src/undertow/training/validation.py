"""The scores by which checkpoints are chosen, fixed before training began: held-out worlds and held-out photographs.

No loss of a denoiser may read masks or tracks, but the choice among checkpoints may: nothing here is ever trained on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from undertow.backbones import Backbone
from undertow.metrics import contour_accuracy, region_similarity
from undertow.metrics.tapvid import near_points, scale_points
from undertow.points import PointSettings, track_points
from undertow.tracking import MaskTracker, TrackSettings
from undertow.world import FIRST_VALIDATION_SEED, WorldSettings, make_scene
from undertow.world.view_pairs import PhotoPair


@dataclass(frozen=True)
class Validation:
    """Which worlds are tracked: `scenes` scenes of `frames` frames, `stride` frames apart, about `tokens` tokens."""

    scenes: int = 12
    frames: int = 8
    stride: int = 4
    tokens: int = 1600
    world: WorldSettings = field(
        default_factory=lambda: WorldSettings(height=270, width=480, leaves=110, objects=(1, 3), motion=1.0)
    )


def validate(backbone: Backbone, settings: TrackSettings, validation: Validation | None = None) -> float:
    """Returns the mean J&F in [0, 1] over all objects of the validation worlds, first frames left out."""
    validation = validation or Validation()
    scores: list[float] = []
    for number in range(validation.scenes):
        scene = make_scene(FIRST_VALIDATION_SEED + number, validation.world)
        tracker = MaskTracker(backbone, settings)
        per_object: dict[int, list[float]] = {}
        for step in range(validation.frames):
            picture = scene.picture(float(step * validation.stride))
            if step == 0:
                # Objects that nothing shows on the first frame cannot be asked for.
                wanted = [int(i) for i in np.unique(picture.labels) if i and (picture.labels == i).sum() >= 100]
                tracker.step(picture.image, np.where(np.isin(picture.labels, wanted), picture.labels, 0))
                continue
            labels = tracker.step(picture.image).labels
            for object_id in wanted:
                pair = labels == object_id, picture.labels == object_id
                value = (region_similarity(*pair) + contour_accuracy(*pair)) / 2
                per_object.setdefault(object_id, []).append(value)
        scores.extend(float(np.mean(values)) for values in per_object.values())
    return float(np.mean(scores))


def match_photographs(backbone: Backbone, settings: PointSettings, pairs: Iterable[PhotoPair]) -> float:
    """Returns the mean delta_avg in [0, 1] of points followed from the first view of each pair to the second.

    Only points that are seen in both count: the score is of matching, not of knowing what is hidden.
    """
    scores = []
    for pair in pairs:
        found = track_points(pair.frames, pair.tracks[:, 0], model=backbone, settings=settings).tracks[:, 1]
        height, width = pair.frames.shape[1:3]
        seen = pair.visible[:, 1]
        near = near_points(*(scale_points(each[seen], (width, height)) for each in (found, pair.tracks[:, 1])))
        if seen.any():
            scores.append(float(near.mean()))
    return float(np.mean(scores))
