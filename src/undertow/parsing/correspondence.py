"""Labels that agree along correspondences (VidSeg): tokens are followed through a batch, and each path votes."""

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Similarities that are held at a time: 64 MB.
_MOST_SIMILARITIES = 1 << 24


@dataclass(frozen=True)
class Paths:
    """Where the tokens of a batch's first frame go.

    Attributes:
        places: Token of each frame that each path is at.
        kept: Paths that never moved too far.
    """

    places: Int[Tensor, "f s"]
    kept: Bool[Tensor, " s"]


@torch.no_grad()
def follow(features: Float[Tensor, "f s d"], grid: tuple[int, int], tau: int = 1) -> Paths:
    """Returns a path for every token of the first frame.

    From frame t it goes to the token of frame t + 1 with the greatest similarity: t/(t+1) times the cosine with the
    token it is at, and 1/(t+1) times that with the token it began at, which keeps it from drifting. A path that moves
    more than `tau` tokens in y or x between two frames is not kept. (In the released code the second term compares with
    the places of frame 0, so that the first step never moves, and moves up or left are never too far.)

    Args:
        features: Queries of one block.
        grid: Rows and columns of tokens.
        tau: Most tokens moved, in either direction.
    """
    unit = functional.normalize(features.float(), dim=-1)
    frames, tokens, _ = unit.shape
    place = torch.arange(tokens, device=unit.device)
    places, kept = [place], torch.ones(tokens, dtype=torch.bool, device=unit.device)
    for t in range(frames - 1):
        # Both cosines are with the same tokens, so their mixture is the product with the mixture.
        wanted = (t * unit[t, place] + unit[0]) / (t + 1)
        rows = max(1, _MOST_SIMILARITIES // tokens)
        onward = torch.cat([(wanted[i : i + rows] @ unit[t + 1].T).argmax(1) for i in range(0, tokens, rows)])
        down = (onward // grid[1] - place // grid[1]).abs()
        right = (onward % grid[1] - place % grid[1]).abs()
        kept &= (down <= tau) & (right <= tau)
        place = onward
        places.append(place)
    return Paths(torch.stack(places), kept)


def vote(soft: Float[Tensor, "f m s"], paths: Paths, *, hard: bool = False) -> Float[Tensor, "f m s"]:
    """Returns labels after each kept path has voted on the tokens it passes.

    Args:
        soft: Labels of the tokens.
        paths: Kept paths, any number of which may meet on a token; a token that none passes keeps its label.
        hard: Whether a path votes for the class that is likeliest along it, as in the paper, where labels are hard; it
            otherwise lends its mean label.
    """
    frames, classes, tokens = soft.shape
    places = paths.places[:, paths.kept]
    along = torch.stack([soft[t][:, places[t]] for t in range(frames)]).mean(0)
    if hard:
        # Of equal classes the first wins, always.
        along = functional.one_hot(along.argmax(0), classes).T.to(soft.dtype)
    result = soft.clone()
    for t in range(frames):
        # Sums in a fixed order: matrices of ones and zeros would be the same, but larger.
        total = soft.new_zeros(classes, tokens).index_add_(1, places[t], along)
        votes = soft.new_zeros(tokens).index_add_(0, places[t], torch.ones_like(places[t], dtype=soft.dtype))
        passed = votes > 0
        result[t][:, passed] = total[:, passed] / votes[passed]
    return result
