"""Paths of points that optical flow carries and the frozen model's matches correct.

Flow between neighbouring frames is exact but forgets: its errors add up, and a point that was hidden is lost. Matches
with the point's own frame are coarse but remember. So a few hypotheses of where each point may be go from frame to
frame together. Flow carries each of them; beside them begin new ones at the best matches, moved to where the picture
around the point fits, for a price: how unlikely it is that flow has slipped so far. On each frame a hypothesis earns
the log-odds that the point is seen there, and nothing where it is more likely hidden. The path that has earned most in
the end is the point's, and its log-odds say where it is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from undertow.points.matching import Evidence

# Hypotheses of a point that go on to the next frame.
KEPT = 4
# Price of a jump to anywhere, in log-odds, and how far flow slips unnoticed, in tokens.
JUMP, SLIP = 5.0, 0.5
# Hypotheses nearer to each other than this, in tokens, are the same.
SAME = 1.0
# The finest drift that is distinguished, in tokens.
FINE = 0.1


@dataclass(frozen=True)
class Odds:
    """Logistic models of a point being seen where it may be, fitted to validation worlds.

    Attributes:
        carried: Of a place that flow led to: bias, and weights of log mass, log(1 + gap) and log(drift + `FINE`).
        matched: The same of a best match.
    """

    carried: tuple[float, float, float, float] = (-0.67, 0.31, -0.36, -3.3)
    matched: tuple[float, float, float, float] = (1.9, 1.1, -1.1, 0.0)

    def __call__(self, evidence: Evidence, drift: Float[Tensor, "n k"], carried: int) -> Float[Tensor, "n k"]:
        """Returns the log-odds of places, of which so many are carried and the others matched."""
        each = [self.carried] * carried + [self.matched] * (drift.shape[1] - carried)
        bias, *weights = drift.new_tensor(each).T
        signals = evidence.mass.clamp(min=1e-6).log(), evidence.gap.log1p(), (drift + FINE).log()
        return bias + sum(weight * signal for weight, signal in zip(weights, signals, strict=True))


@dataclass(frozen=True)
class Hypotheses:
    """Where points may be on one frame.

    Attributes:
        places: (x, y) in cells.
        drift: How far off flow may have carried each since it was known, in tokens.
        odds: Log-odds of the point being seen there.
        earned: By the path that ends there.
        parents: Which hypothesis of the frame before that path comes from.
    """

    places: Float[Tensor, "n m 2"]
    drift: Float[Tensor, "n m"]
    odds: Float[Tensor, "n m"]
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
    odds = model(evidence, drift, count).where(inside, -torch.inf)
    # Matches come from whichever path makes them dearest least.
    squares = (places[:, count:, None] - places[:, None, :count]).square().sum(-1)
    price = (squares / (2 * (SLIP + drift[:, None, :count]) ** 2)).clamp(max=JUMP)
    earned, parents = (before.earned[:, None] - price).max(-1)
    stay = torch.arange(count, device=places.device).expand(len(places), -1)
    earned = torch.cat([before.earned, earned], 1) + odds.clamp(min=0)
    kept = _distinct(places, earned).topk(min(KEPT, places.shape[1]), dim=-1).indices
    drift, odds, earned, parents = (
        each.gather(1, kept) for each in (drift, odds, earned, torch.cat([stay, parents], 1))
    )
    return Hypotheses(places.gather(1, kept[..., None].expand(-1, -1, 2)), drift, odds, earned, parents)


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
