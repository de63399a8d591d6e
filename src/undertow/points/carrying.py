"""Paths of points that optical flow carries and the frozen model's matches correct.

Flow between neighbouring frames is exact but forgets: its errors add up, and a point that was hidden is lost. Matches
with the point's own frame are coarse but remember. So a few hypotheses of where each point may be go from frame to
frame together. Flow carries each of them; beside them begin new ones at the best matches, moved to where the picture
around the point fits, for a price: how unlikely it is that flow has slipped so far. On each frame a hypothesis earns
the log-odds that the point is seen there, and nothing where it is more likely hidden or elsewhere. The path that has
earned most in the end is the point's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from undertow.points.matching import Evidence

# Hypotheses of a point that go on to the next frame.
KEPT = 4
# How far flow slips unnoticed, in tokens.
SLIP = 0.5
# Hypotheses nearer to each other than this, in tokens, are the same.
SAME = 1.0
# The finest drift that is distinguished, in tokens.
FINE = 0.1


Weights = tuple[float, float, float, float]
"""A bias, and the weights of log mass, log(1 + gap) and log(`FINE` + drift)."""


@dataclass(frozen=True)
class Odds:
    """Logistic models, fitted to validation worlds by `benchmarks/quality/calibrate_points.py`.

    Attributes:
        carried: Of a point being seen within a token of where flow led.
        matched: The same of a best match.
        seen: Of a point being seen anywhere, told from the place it is believed at.
    """

    carried: Weights = (0.55, 0.36, 0.0, -1.82)
    matched: Weights = (0.76, 0.84, -1.08, -1.70)
    seen: Weights = (3.63, 0.17, -0.45, -0.39)


def log_odds(
    weights: Weights, mass: Float[Tensor, "n k"], gap: Float[Tensor, "n k"], drift: Float[Tensor, "n k"]
) -> Float[Tensor, "n k"]:
    """Returns the log-odds of places by a logistic model."""
    bias, on_mass, on_gap, on_drift = weights
    return bias + on_mass * mass.clamp(min=1e-6).log() + on_gap * gap.log1p() + on_drift * (drift + FINE).log()


@dataclass(frozen=True)
class Hypotheses:
    """Where points may be on one frame.

    Attributes:
        places: (x, y) in cells.
        drift: How far off flow may have carried each since it was known, in tokens.
        seen: Log-odds of the point being seen, if it is there.
        earned: By the path that ends there.
        parents: Which hypothesis of the frame before that path comes from.
    """

    places: Float[Tensor, "n m 2"]
    drift: Float[Tensor, "n m"]
    seen: Float[Tensor, "n m"]
    earned: Float[Tensor, "n m"]
    parents: Int[Tensor, "n m"]


def begin(places: Float[Tensor, "n 2"]) -> Hypotheses:
    """Returns the one hypothesis there is of each point on its own frame."""
    zero = torch.zeros_like(places[:, :1])
    return Hypotheses(places[:, None], zero, zero, zero, zero.long())


def advance(
    before: Hypotheses,
    places: Float[Tensor, "n k 2"],
    misses: Float[Tensor, "n k"],
    evidence: Evidence,
    inside: Bool[Tensor, "n k"],
    model: Odds,
) -> Hypotheses:
    """Returns the hypotheses of the next frame.

    Args:
        before: Those of the frame before.
        places: (x, y) in cells: where flow carries each of them, and then the best matches.
        misses: By how much the way back from each place misses where it came from, in tokens.
        evidence: Of all places.
        inside: Whether places are in the picture.
        model: Of being seen.
    """
    count = before.places.shape[1]
    drift = torch.cat([before.drift + misses[:, :count], misses[:, count:]], 1)
    signals = torch.stack([evidence.mass, evidence.gap, drift])
    odds = [log_odds(model.carried, *signals[..., :count]), log_odds(model.matched, *signals[..., count:])]
    gains = torch.cat(odds, 1).clamp(min=0) * inside
    seen = log_odds(model.seen, *signals).where(inside, -torch.inf)
    # Matches come from whichever path makes them dearest least.
    squares = (places[:, count:, None] - places[:, None, :count]).square().sum(-1)
    price = squares / (2 * (SLIP + drift[:, None, :count]) ** 2)
    earned, parents = (before.earned[:, None] - price).max(-1)
    stay = torch.arange(count, device=places.device).expand(len(places), -1)
    earned = torch.cat([before.earned, earned], 1) + gains
    kept = _distinct(places, earned).topk(min(KEPT, places.shape[1]), dim=-1).indices
    found = (drift, seen, earned, torch.cat([stay, parents], 1))
    return Hypotheses(places.gather(1, kept[..., None].expand(-1, -1, 2)), *(each.gather(1, kept) for each in found))


def _distinct(places: Float[Tensor, "n k 2"], earned: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Returns what places have earned, far less where another one has earned more at nearly the same place."""
    rank = torch.arange(earned.shape[1], device=earned.device)
    more = (earned[:, None] > earned[..., None]) | ((earned[:, None] == earned[..., None]) & (rank < rank[:, None]))
    same = (places[:, :, None] - places[:, None]).square().sum(-1) < SAME**2
    return earned - 1e6 * (same & more).any(-1)


def best_of(frames: Sequence[Hypotheses]) -> list[Int[Tensor, "n"]]:
    """Returns which hypothesis of each frame lies on the path that has earned most."""
    if not frames:
        return []
    chosen = [frames[-1].earned.argmax(-1)]
    for later in frames[:0:-1]:
        chosen.append(later.parents.gather(1, chosen[-1][:, None])[:, 0])
    return chosen[::-1]
