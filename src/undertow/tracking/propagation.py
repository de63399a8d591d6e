"""How references give a frame its soft labels: each object by its own kernel, or all at once by one."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from undertow.affinity import Affinity
from undertow.affinity.windows import around_tokens
from undertow.masks import LabelMap, object_ids, soft_one_hot, upsample_argmax
from undertow.masks.soft import UpsampledLabels
from undertow.observing.cache import Cache, recall_affinity
from undertow.observing.observer import FrameFeatures
from undertow.tracking.kernels import Group, with_background
from undertow.tracking.lost import Verdict
from undertow.tracking.memory import Reference
from undertow.tracking.results import ObjectScore
from undertow.tracking.settings import ResolvedSettings

# A token of which objects have no more than this is background: as near as makes no difference to any mask.
NOTHING = 1e-4


class Carried(NamedTuple):
    """What references give a frame.

    Attributes:
        soft: Its soft labels.
        mass: The mass of each channel's kernel, per token.
        affinity: The kernel, if one carries all objects.
    """

    soft: Float[Tensor, "n s"]
    mass: Float[Tensor, "n s"]
    affinity: Affinity | None = None


def carry(
    features: FrameFeatures,
    references: Sequence[Reference],
    groups: Sequence[Group],
    resolved: ResolvedSettings,
    cache: Cache | None = None,
) -> Carried:
    """Returns the soft labels that references give a frame.

    Args:
        features: The frame's queries and keys.
        references: Frames whose soft labels are known; without any, all is background.
        groups: Which kernel carries which objects.
        resolved: The run's settings.
        cache: Where kernels are kept for other runs.
    """
    channels, tokens = 1 + sum(len(own.channels) for own in groups), features.queries.shape[1]
    if not references:
        blank = torch.zeros(channels, tokens)
        blank[0] = 1.0
        return Carried(blank, torch.ones(channels, tokens))
    if len(groups) == 1:
        carried, affinity = _carry_together(features, references, groups[0].head_weights, resolved, cache)
        return Carried(carried, affinity.mass.to(carried.device).expand(channels, -1), affinity)
    objects, masses = torch.zeros(2, channels, tokens)
    for own in groups:
        carried, affinity = _carry_together(features, references, own.head_weights, resolved, cache)
        objects[list(own.channels)] = carried[list(own.channels)]
        masses[list(own.channels)] = affinity.mass.to(carried.device)
    return Carried(with_background(objects[1:]), masses)


def _carry_together(
    features: FrameFeatures,
    references: Sequence[Reference],
    head_weights: Float[Tensor, "a"] | None,
    resolved: ResolvedSettings,
    cache: Cache | None,
) -> tuple[Float[Tensor, "n s"], Affinity]:
    """Returns the soft labels that references give a frame by one kernel, and that kernel."""
    keys = [reference.keys for reference in references]
    places = [reference.places for reference in references] if resolved.preset.motion else None
    labels = torch.stack([r.labels for r in references])
    known = torch.stack([r.known for r in references])
    near = _near_objects(labels, resolved)
    affinity = recall_affinity(
        cache, features.queries, keys, resolved.grid, resolved.kernel, head_weights, places, near
    )
    carried = affinity.apply(labels)
    if near is not None:
        carried[0, ~near] = 1.0
    if not known.all():
        # An object is asked for only where it can be known: its weights are renormalised over those references.
        # What no object claims is background.
        support = affinity.apply(known[:, :, None].float().expand_as(labels))
        objects = (carried / support.clamp(min=1e-6))[1:]
        background = (1 - objects.sum(0, keepdim=True)).clamp(min=0)
        carried = torch.cat([background, objects])
        carried = carried / carried.sum(0)
    return carried, affinity


def _near_objects(labels: Float[Tensor, "r n s"], resolved: ResolvedSettings) -> Bool[Tensor, "s"] | None:
    """Returns the tokens that more than nothing of an object can be carried to, and the rest of their tiles.

    All others are background whatever the kernel is, which need not be known there. Where tokens are followed through
    time, all of them are, hence None: if it depended on the objects where tokens came from, another object could not
    use the kernels that a cache keeps.
    """
    kernel = resolved.kernel
    if resolved.preset.motion:
        return None
    radius = None if kernel.first_frame_unrestricted else kernel.radius
    some = labels[:, 1:].amax(dim=(0, 1)) > NOTHING
    return around_tokens(some.view(resolved.grid), radius).flatten()


def decide(
    soft: Float[Tensor, "m h w"],
    ids: Sequence[int],
    size: tuple[int, int],
    channel_norm: Literal["none", "minmax"],
    mask: LabelMap | None = None,
) -> UpsampledLabels:
    """Returns the label map that soft labels stand for; where a mask was given, its objects are as they were given.

    Args:
        soft: Soft labels on the grid, background first.
        ids: Object ids, in the order of the channels after the background.
        size: Height and width of the frame.
        channel_norm: Whether each channel is stretched before the argmax.
        mask: The label map that was given for the frame.
    """
    decided = upsample_argmax(soft, ids, size, channel_norm=channel_norm)
    if mask is None:
        return decided
    labels = with_given_pixels(decided.labels, mask)
    return replace(decided, labels=labels, area={each: int((labels == each).sum()) for each in ids})


def with_given_pixels(labels: LabelMap, mask: LabelMap) -> LabelMap:
    """Returns a label map in which the objects of a given mask are where the mask has them, and nowhere else."""
    return np.where((mask > 0) | np.isin(labels, object_ids(mask)), mask, labels).astype(np.uint16)


def with_given(
    soft: Float[Tensor, "n s"], mask: LabelMap, ids: Sequence[int], named: Collection[int], resolved: ResolvedSettings
) -> Float[Tensor, "n s"]:
    """Returns soft labels in which the objects a mask names are as given and the others share what is left.

    Args:
        soft: What was carried to the frame.
        mask: The label map that was given for it.
        ids: Object ids, in the order of the channels after the background.
        named: Those that the mask names.
        resolved: The run's settings.
    """
    given = soft_one_hot(mask, ids, resolved.grid, mode=resolved.first_labels).flatten(1)
    free = torch.tensor([True] + [object_id not in named for object_id in ids])
    others = soft * free[:, None]
    # What a named object was propagated to outside its given mask is background after all.
    others[0] += (soft * ~free[:, None]).sum(0)
    claimed = (given * ~free[:, None]).sum(0)
    return given * ~free[:, None] + others * (1 - claimed) / others.sum(0).clamp(min=1e-9)


def object_scores(
    decided: UpsampledLabels,
    soft: Float[Tensor, "n s"],
    mass: Float[Tensor, "n s"],
    ids: Sequence[int],
    named: Collection[int],
    verdict: Verdict,
) -> dict[int, ObjectScore]:
    """Returns how sure each object of a frame is.

    Args:
        decided: The frame's label map.
        soft: The soft labels that it was decided from.
        mass: The mass of each channel's kernel, per token.
        ids: Object ids, in the order of the channels after the background.
        named: Those whose masks were given.
        verdict: What is thought of the others.
    """
    scores = {}
    for channel, object_id in enumerate(ids, start=1):
        area = decided.area[object_id]
        if object_id in named:
            scores[object_id] = ObjectScore(area, 1.0, 1.0)
        else:
            weight = soft[channel]
            kept = float((weight * mass[channel]).sum() / weight.sum().clamp(min=1e-9))
            scores[object_id] = ObjectScore(
                area,
                decided.margin[object_id],
                kept,
                verdict.presence[channel] if area or channel in verdict.lost else 0.0,
                channel in verdict.lost or area == 0,
            )
    return scores
