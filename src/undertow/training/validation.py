"""The scores by which checkpoints are chosen, fixed before training began: held-out worlds and held-out photographs.

No loss of a denoiser may read masks or tracks, but the choice among checkpoints may: nothing here is ever trained on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import max_pool2d

from undertow.backbones import Backbone
from undertow.metrics import contour_accuracy, region_similarity
from undertow.metrics.tapvid import near_points, scale_points
from undertow.points import PointSettings, track_points
from undertow.refinement import Embedding, Segmenter
from undertow.tracking import MaskTracker, TrackSettings
from undertow.training.segmenter_examples import damaged_logits
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


SCORES = ("click", "single", "clicks3", "box", "damaged", "refined")


@dataclass(frozen=True)
class SegmenterValidation:
    """Which worlds are segmented: `scenes` scenes of 480 x 270 pixels, every object of at least `smallest` pixels.

    `seed` is that of the damage done to masks.
    """

    scenes: int = 40
    smallest: int = 200
    seed: int = 0
    world: WorldSettings = field(
        default_factory=lambda: WorldSettings(height=270, width=480, leaves=110, objects=(1, 4), photographs=0.45)
    )


def validate_segmenter(segmenter: Segmenter, validation: SegmenterValidation | None = None) -> dict[str, float]:
    """Returns the mean overlap (J, in [0, 1]) over all objects of the validation worlds, by prompt.

    * `click`: one click in the middle of the object; of the three masks, the one that the model scores highest;
    * `single`: the same click, one mask;
    * `clicks3`: two more clicks, each in the middle of the error before it, with the mask before it; one mask;
    * `box`: the object's exact box; one mask;
    * `damaged`: no answer, but the object's mask as a tracker would give it (`damaged_logits`), which is what
    * `refined` answers, together with two clicks in the object; one mask.

    "The middle" is a pixel farthest from the region's border, as in the evaluation of Segment Anything.
    """
    validation = validation or SegmenterValidation()
    scores: dict[str, list[float]] = {name: [] for name in SCORES}
    random = torch.Generator().manual_seed(validation.seed)
    for number in range(validation.scenes):
        picture = make_scene(FIRST_VALIDATION_SEED + number, validation.world).picture()
        (embedding,) = segmenter.embed(picture.image[None])
        for object_id in np.unique(picture.labels):
            wanted = torch.from_numpy(picture.labels == object_id)
            if object_id and wanted.sum() >= validation.smallest:
                for name, found in _answers(segmenter, embedding, wanted, random).items():
                    scores[name].append(region_similarity(found.numpy(), wanted.numpy()))
    return {name: float(np.mean(values)) for name, values in scores.items()}


def _answers(
    segmenter: Segmenter, embedding: Embedding, wanted: Bool[Tensor, "h w"], random: torch.Generator
) -> dict[str, Bool[Tensor, "h w"]]:
    """Returns the mask that each kind of prompt gives for one object."""

    def mask(logits: Tensor) -> Bool[Tensor, "h w"]:
        return embedding.fit.to_frame(logits[0])[0].cpu() > 0

    points, labels = middle(wanted)[None, None], torch.ones(1, 1, dtype=torch.int64)
    single = segmenter.predict(embedding, points=points, labels=labels)
    answer = segmenter.predict(embedding, points=points, labels=labels, multimask=True).best()
    found = {"click": mask(answer.logits), "single": mask(single.logits)}
    for _ in range(2):
        wrong = wanted ^ mask(answer.logits)
        place = middle(wrong if wrong.any() else wanted)
        label = wanted[int(place[1]), int(place[0])].long()
        points, labels = torch.cat([points, place[None, None]], 1), torch.cat([labels, label[None, None]], 1)
        answer = segmenter.predict(embedding, points=points, labels=labels, masks=answer.logits[:, 0])
    found["clicks3"] = mask(answer.logits)
    rows, columns = (torch.nonzero(wanted.any(axis)).flatten() for axis in (1, 0))
    box = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
    found["box"] = mask(segmenter.predict(embedding, boxes=box[None]).logits)
    fit = embedding.fit
    rows_used, columns_used = fit.grid
    damaged = damaged_logits(fit.whole(fit.to_grid(wanted[None].float()), 0.0), random)[:, :rows_used, :columns_used]
    found["damaged"] = mask(damaged[None])
    cells = torch.nonzero(wanted)
    places = cells[torch.randint(len(cells), (2,), generator=random)].flip(1) + 0.5
    found["refined"] = mask(segmenter.predict(embedding, points=places[None], masks=damaged).logits)
    return found


def middle(region: Bool[Tensor, "h w"]) -> Tensor:
    """Returns the centre (x, y) of a pixel of `region` that is farthest from its border, the picture's edge included.

    Distances are counted in steps to any of the eight neighbours.
    """
    depth, left = torch.zeros(region.shape), region[None, None].float()
    while left.any():
        depth += left[0, 0]
        # Outside the picture counts as outside the region.
        left = 1 - max_pool2d(torch.nn.functional.pad(1 - left, (1, 1, 1, 1), value=1.0), 3, stride=1)
    row, column = divmod(int(depth.argmax()), region.shape[1])
    return torch.tensor([column + 0.5, row + 0.5])
