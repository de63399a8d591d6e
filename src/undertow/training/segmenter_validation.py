"""How good a segmenter is by kind of prompt, on held-out worlds and on composites of held-out photographs.

Fixed before training began. Nothing here is ever trained on, and no benchmark takes part.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Integer, UInt8
from torch import Tensor
from torch.nn.functional import max_pool2d

from undertow.metrics import region_similarity
from undertow.refinement import Embedding, Segmenter
from undertow.training.segmenter_examples import damaged_logits
from undertow.world import FIRST_VALIDATION_SEED, WorldSettings, make_scene
from undertow.world.composites import CompositeSettings, make_composite
from undertow.world.photographs import Photograph, read_photograph
from undertow.world.view_pairs import READ_AT

Labelled: TypeAlias = tuple[UInt8[np.ndarray, "h w 3"], Integer[np.ndarray, "h w"]]
PHOTO = "photo_"
SCORES = ("click", "single", "clicks3", "box", "damaged", "refined")


@dataclass(frozen=True)
class SegmenterValidation:
    """What is segmented: `scenes` worlds and as many composites, 480 x 270 pixels each.

    Every object of at least `smallest` pixels counts. `seed` is that of the damage done to masks.
    """

    scenes: int = 40
    smallest: int = 200
    seed: int = 0
    world: WorldSettings = field(
        default_factory=lambda: WorldSettings(height=270, width=480, leaves=110, objects=(1, 4), photographs=0.45)
    )
    composites: CompositeSettings = field(
        default_factory=lambda: CompositeSettings(height=270, width=480, objects=(1, 4))
    )


def validation_worlds(validation: SegmenterValidation) -> Iterator[Labelled]:
    """Yields pictures of held-out worlds and the number of the object that each pixel shows."""
    for number in range(validation.scenes):
        picture = make_scene(FIRST_VALIDATION_SEED + number, validation.world).picture()
        yield picture.image, picture.labels


def validation_composites(validation: SegmenterValidation, photographs: Sequence[Photograph]) -> Iterator[Labelled]:
    """Yields composites of the held-out ones of some photographs, and the number of the object that each pixel shows.

    Raises:
        SettingsError: if a photograph is no picture.
    """
    kept = [read_photograph(each.path, READ_AT) for each in photographs if each.held_out]
    for number in range(validation.scenes if kept else 0):
        random = np.random.default_rng((FIRST_VALIDATION_SEED, number))
        made = make_composite(random, kept[number % len(kept)], kept, validation.composites)
        yield made.image, made.objects


def validate_segmenter(
    segmenter: Segmenter, validation: SegmenterValidation | None = None, photographs: Sequence[Photograph] = ()
) -> dict[str, float]:
    """Returns the mean overlap (J, in [0, 1]) over all objects of the validation worlds, by prompt.

    With photographs the same of composites of the held-out ones, as `photo_click` and so on.

    * `click`: one click in the middle of the object; of the three masks, the one that the model scores highest;
    * `single`: the same click, one mask;
    * `clicks3`: two more clicks, each in the middle of the error before it, with the mask before it; one mask;
    * `box`: the object's exact box; one mask;
    * `damaged`: no answer, but the object's mask as a tracker would give it (`damaged_logits`), which is what
    * `refined` answers, together with two clicks in the object; one mask.

    "The middle" is a pixel farthest from the region's border, as in the evaluation of Segment Anything.
    """
    validation = validation or SegmenterValidation()
    scores = _mean_overlaps(segmenter, validation_worlds(validation), validation)
    if photographs:
        composites = validation_composites(validation, photographs)
        found = _mean_overlaps(segmenter, composites, validation)
        scores |= {f"{PHOTO}{name}": value for name, value in found.items()}
    return scores


def choice(scores: Mapping[str, float]) -> float:
    """Returns the score by which weights are chosen: the mean of boxes and clicks on worlds and composites.

    The last weights of a run ship if it is higher than that of the weights before them, and neither of the two
    `refined` is lower.
    """
    return float(np.mean([scores[name] for name in ("click", "box", f"{PHOTO}click", f"{PHOTO}box")]))


def _mean_overlaps(
    segmenter: Segmenter, pictures: Iterable[Labelled], validation: SegmenterValidation
) -> dict[str, float]:
    scores: dict[str, list[float]] = {name: [] for name in SCORES}
    random = torch.Generator().manual_seed(validation.seed)
    for image, labels in pictures:
        (embedding,) = segmenter.embed(image[None])
        for object_id in np.unique(labels):
            wanted = torch.from_numpy(labels == object_id)
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
