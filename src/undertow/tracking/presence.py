"""Whether an object is really where its mask says: three signals of one frame, and a model of them fitted on worlds.

The strongest signal asks backwards. Propagation lets the frame's tokens look into the references; here the tokens that
the object had on an anchor look into the whole frame, and the share of their attention that comes home to the mask
says whether the mask still holds the object, has slipped onto something else, or holds what the object left behind.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from undertow.affinity import KernelSettings
from undertow.affinity.similarity import Similarity
from undertow.observing.observer import FrameFeatures
from undertow.tracking.memory import Reference

# Tokens of an anchor's object that look back, spread evenly over it: enough for a mean, whatever the object's size.
ANCHOR_TOKENS = 256
# An object that wins no token is judged by the tokens of its peak, if that is at least so high.
FAINT = 0.2
# What an object scores on its own anchor may be next to nothing where it is a token wide or the kernel very soft.
LEAST_OWN = 0.1

HeadWeights = Mapping[int, Float[Tensor, "a"] | None]
"""Weights of the heads by channel of the soft labels; None for equal ones."""


@dataclass(frozen=True)
class PresenceSignals:
    """What one object's mask looks like on one frame.

    Attributes:
        home: Share of the attention of the object's anchor tokens, over the whole frame, that falls into the mask.
        area: Natural logarithm of the mask's tokens over the anchor's, one added to both.
        margin: Mean over the mask's tokens of the object's soft label minus the best other.

    Home and margin are divided by what they are on the anchor itself, so that sharp and soft models agree, and are at
    most 1.
    """

    home: float
    area: float
    margin: float


@dataclass(frozen=True)
class PresenceModel:
    """A logistic model: the probability that mask and object overlap by at least half (IoU of 0.5 or more).

    The defaults are for the model `tiny` at 1600 tokens, from 60 procedural worlds that neither training nor any table
    uses, where objects leave, come back, hide, rush, or just move. The weights were fitted to them as
    `benchmarks/quality/calibrate_presence.py` does it, which fits them anew; the thresholds were chosen by hand.

    Attributes:
        bias: Log-odds where the terms below are zero.
        home: Weight of the log-odds of the signal `home`.
        area: Weight of the signal `area`.
        margin: Weight of the signal `margin`.
        lost_below: An object of lower presence is lost, but for one whose signals are above both of the next two: one
            that turned or bent looks like another, but it keeps its size, and some of its parts come home.
        lost_area: The signal `area` of that.
        lost_home: Its signal `home`.
        found_from: A lost object that was searched for is found again from this presence on: more than it takes to go
            on, since the best of many places looks good by chance.
        found_home: The signal `home` that it must have then. What a search comes upon has won its tokens by the same
            likeness, so margin says little; where there is no such object, up to two fifths come home on worlds, and up
            to nine tenths in real pictures.
        found_area: The most that the signal `area` may be then: a background that looks like the object all over makes
            a candidate that is larger than the object was.
    """

    bias: float = -1.66
    home: float = 1.28
    area: float = 1.3
    margin: float = 5.64
    lost_below: float = 0.03
    lost_area: float = -1.0
    lost_home: float = 0.02
    found_from: float = 0.6
    found_home: float = 0.45
    found_area: float = 0.3

    def probability(self, signals: PresenceSignals) -> float:
        """Returns the presence in [0, 1] of a mask with these signals."""
        odds = self.bias + self.home * log_odds(signals.home) + self.area * signals.area + self.margin * signals.margin
        return 1 / (1 + math.exp(-odds))

    def lost(self, signals: PresenceSignals) -> bool:
        """Returns whether a mask with these signals has lost its object."""
        changed = signals.area >= self.lost_area and signals.home >= self.lost_home
        return not changed and self.probability(signals) < self.lost_below

    def found(self, signals: PresenceSignals) -> bool:
        """Returns whether what a search came upon is the object."""
        alike = signals.home >= self.found_home and signals.area <= self.found_area
        return alike and self.probability(signals) >= self.found_from


def log_odds(share: float) -> float:
    """Returns ln(p / (1 - p)) of a share, which is first brought into [0.01, 0.99]: beyond, it says nothing more."""
    share = min(max(share, 0.01), 0.99)
    return math.log(share / (1 - share))


class AnchorTokens:
    """The anchors' tokens of the objects, asked of one frame.

    Args:
        features: The frame's queries and keys.
        settings: The kernel's settings, for similarity and temperature.
        anchors: Frames whose masks were given.
        head_weights: Weights of the heads by channel; equal ones where there are none.
    """

    def __init__(
        self,
        features: FrameFeatures,
        settings: KernelSettings,
        anchors: Sequence[Reference] = (),
        *,
        head_weights: HeadWeights | None = None,
    ):
        self._similarity = Similarity(features.queries, settings)
        self._anchors = anchors
        self._head_weights = head_weights or {}
        # Once for all objects: with hundreds of them, asking anew for each would be quadratic.
        self._best = {id(anchor): anchor.labels.argmax(0) for anchor in anchors}

    def own(
        self, keys: Float[Tensor, "a s d"], labels: Float[Tensor, "n s"], mirrored: Float[Tensor, "n s"], channel: int
    ) -> Float[Tensor, "2"]:
        """Returns what an object scores on this very frame, its mask being given: home and margin, 0 without a token.

        Args:
            keys: The frame's own keys.
            labels: The soft labels given.
            mirrored: Those that the frame would give itself.
            channel: The object.
        """
        inside = winners(labels, channel)
        if not inside.any():
            return torch.zeros(2)
        home = self._share(keys, _spread(inside), inside, *self._heads(channel))
        return torch.tensor([home, _margin(mirrored, channel, inside)]).clamp(min=LEAST_OWN)

    def signals(
        self, soft: Float[Tensor, "n s"], channel: int, best: Int[Tensor, "s"] | None = None
    ) -> PresenceSignals | None:
        """Returns the signals of one object under the frame's soft labels; None if it is nowhere.

        Of several anchors that were given the object, the one that finds it best counts: it may have several sides.
        `best` is the channel that wins each token, where it is known already.
        """
        inside = winners(soft, channel, best)
        if not inside.any():
            return None
        seen = PresenceSignals(0.0, 0.0, 0.0)
        for anchor in given(self._anchors, channel):
            own = torch.ones(2) if anchor.own is None else anchor.own[:, channel]
            tokens = _spread(winners(anchor.labels, channel, self._best[id(anchor)]))
            home = min(1.0, self._share(anchor.keys, tokens, inside, *self._heads(channel)) / float(own[0]))
            if home >= seen.home:
                area = math.log((int(inside.sum()) + 1) / (float(anchor.labels[channel].sum()) + 1))
                seen = PresenceSignals(home, area, min(1.0, _margin(soft, channel, inside) / float(own[1])))
        return seen

    def _heads(self, channel: int) -> tuple[Float[Tensor, "a"], ...]:
        """Returns the weights of an object's heads, nothing if they are equal."""
        own = self._head_weights.get(channel)
        return () if own is None else (own,)

    def _share(
        self,
        keys: Float[Tensor, "a s d"],
        tokens: Tensor,
        inside: Bool[Tensor, "s"],
        own: Float[Tensor, "a"] | None = None,
    ) -> float:
        """Returns the share of attention of some tokens of a reference, over the frame's tokens, that is inside."""
        looking = self._similarity.keys(keys[:, tokens])
        heads = [1.0] * len(looking) if own is None else own.tolist()
        total = 0.0
        # Head by head: what is held is at most 256 rows over the frame's tokens.
        for queries, each, head in zip(self._similarity.queries, looking, heads, strict=True):
            if head == 0:
                continue
            logits = each @ queries.T
            logits -= logits.amax(dim=-1, keepdim=True)
            weights = logits.exp2_()
            total += head * float((weights[:, inside].sum(-1) / weights.sum(-1)).mean())
        return total / sum(heads)


def winners(soft: Float[Tensor, "n s"], channel: int, best: Int[Tensor, "s"] | None = None) -> Bool[Tensor, "s"]:
    """Returns the tokens that an object wins; if it wins none, those of its peak, unless that is too faint."""
    inside = (soft.argmax(0) if best is None else best) == channel
    if inside.any():
        return inside
    peak = soft[channel].max()
    return (soft[channel] == peak) & (peak >= FAINT)


def given(anchors: Sequence[Reference], channel: int) -> list[Reference]:
    """Returns the anchors whose masks named the object, oldest first."""

    def names(anchor: Reference) -> bool:
        return bool(winners(anchor.labels, channel).any() if anchor.own is None else anchor.own[0, channel] > 0)

    return [anchor for anchor in anchors if names(anchor)]


def _margin(soft: Float[Tensor, "n s"], channel: int, inside: Bool[Tensor, "s"]) -> float:
    """Returns the mean over some tokens of an object's soft label minus the best other, at least 0."""
    others = soft[:, inside].clone()
    others[channel] = 0
    return float((soft[channel, inside] - others.amax(0)).mean().clamp(min=0))


def _spread(inside: Bool[Tensor, "s"]) -> Tensor:
    """Returns at most `ANCHOR_TOKENS` of the tokens inside, evenly spread over their numbers."""
    tokens = inside.nonzero()[:, 0]
    if len(tokens) <= ANCHOR_TOKENS:
        return tokens
    return tokens[torch.linspace(0, len(tokens) - 1, ANCHOR_TOKENS).round().long()]
