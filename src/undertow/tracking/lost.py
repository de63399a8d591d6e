"""Objects that get lost and are found again: every frame's soft labels are judged before anything is made of them.

A lost object is taken out of the frame, so that nothing else wears its name and the frame teaches no later one that
it did. Its anchor is then searched for it without a window: it may come back anywhere.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.affinity import KernelSettings
from undertow.observing.cache import Cache, recall_affinity
from undertow.observing.observer import FrameFeatures
from undertow.tracking.memory import Reference
from undertow.tracking.presence import AnchorTokens, HeadWeights, PresenceModel, PresenceSignals, given


@dataclass(frozen=True)
class Verdict:
    """What is thought of the objects of one frame, by channel of the soft labels.

    Attributes:
        soft: The soft labels without the lost objects and with those found again.
        presence: Probability that each object is where its soft labels say.
        lost: Channels of the lost objects.
        signals: What each object was first judged by; None if it was nowhere.
        searched: The same for what was found of the lost ones, right or wrong.
    """

    soft: Float[Tensor, "n s"]
    presence: Mapping[int, float]
    lost: frozenset[int]
    signals: Mapping[int, PresenceSignals | None]
    searched: Mapping[int, PresenceSignals | None]


def judge(
    soft: Float[Tensor, "n s"],
    features: FrameFeatures,
    anchors: Sequence[Reference],
    channels: Collection[int],
    grid: tuple[int, int],
    kernel: KernelSettings,
    model: PresenceModel,
    *,
    search: bool,
    head_weights: HeadWeights | None = None,
    cache: Cache | None = None,
) -> Verdict:
    """Returns which objects of a frame are there, and the soft labels that follow.

    Args:
        soft: The frame's soft labels, background first.
        features: The frame's queries and keys.
        anchors: The frames whose masks were given.
        channels: The objects to judge.
        grid: Rows and columns of tokens.
        kernel: The kernel's settings.
        model: What makes a presence of signals.
        search: Whether to look for lost objects.
        head_weights: Weights of the heads by channel; equal ones if None.
        cache: Where kernels are kept for other runs.
    """
    heads = head_weights or {}
    anchor_tokens = AnchorTokens(features, kernel, anchors, head_weights=heads)
    best = soft.argmax(0)
    signals = {channel: anchor_tokens.signals(soft, channel, best) for channel in channels}
    presence = {channel: model.probability(seen) if seen else 0.0 for channel, seen in signals.items()}
    lost = [channel for channel, seen in signals.items() if seen is None or model.lost(seen)]
    searched: dict[int, PresenceSignals | None] = {}
    found: set[int] = set()
    # All lost objects leave first: what one of them held is free for another to be found in.
    for channel in lost:
        soft = without(soft, channel)
    if search:
        # Objects of one anchor and kernel share a look into it.
        sources = {channel: anchors_of[-1] for channel in lost if (anchors_of := given(anchors, channel))}
        looks = {channel: (id(source), id(heads.get(channel))) for channel, source in sources.items()}
        wide: dict[tuple[int, int], Tensor] = {}
        for channel, source in sources.items():
            if looks[channel] not in wide:
                wide[looks[channel]] = _look(features, source, grid, kernel, heads.get(channel), cache)
        for channel in sources:
            candidate = _claim(soft, channel, wide[looks[channel]][channel])
            seen = searched[channel] = anchor_tokens.signals(candidate, channel)
            if seen and model.found(seen):
                soft, presence[channel] = candidate, model.probability(seen)
                found.add(channel)
    return Verdict(soft, presence, frozenset(lost) - found, signals, searched)


def without(soft: Float[Tensor, "n s"], channel: int) -> Float[Tensor, "n s"]:
    """Returns soft labels in which what an object held is background."""
    soft = soft.clone()
    soft[0] += soft[channel]
    soft[channel] = 0
    return soft


def _look(
    features: FrameFeatures,
    anchor: Reference,
    grid: tuple[int, int],
    kernel: KernelSettings,
    head_weights: Float[Tensor, "a"] | None,
    cache: Cache | None,
) -> Float[Tensor, "n s"]:
    """Returns the soft labels that an anchor alone gives a frame, from anywhere.

    Recent frames have no say: those in which the object was lost would testify that it is background.
    """
    free = replace(kernel, radius=None)
    anywhere = recall_affinity(cache, features.queries, [anchor.keys], grid, free, head_weights)
    return anywhere.apply(anchor.labels[None])


def _claim(soft: Float[Tensor, "n s"], channel: int, wanted: Float[Tensor, "s"]) -> Float[Tensor, "n s"]:
    """Returns soft labels in which an object has what it wants of the background; other objects keep what is theirs."""
    claimed = torch.minimum(wanted.to(soft.device), soft[0])
    soft = soft.clone()
    soft[0] -= claimed
    soft[channel] = claimed
    return soft
