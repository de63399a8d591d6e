"""What tokens are distinguished by, and how labels agree along correspondences (VidSeg).

Features are mean self-attention queries, read in one forward that ends at the last of them. By the queries of one block
tokens are followed through a batch, and each path votes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from undertow.base import SettingsError
from undertow.observing.observer import Observer
from undertow.parsing.settings import ResolvedParse

# Frames per forward of a model whose frames do not see each other.
_TOGETHER = 4


@dataclass(frozen=True)
class TokenFeatures:
    """What a batch of frames looks like to the model.

    Attributes:
        tokens: Features of every token, normalised, and its place.
        correspond: What tokens find each other by in other frames.
    """

    tokens: Float[Tensor, "f s c"]
    correspond: Float[Tensor, "f s d"]


@torch.no_grad()
def extract_tokens(
    observer: Observer, images: Sequence[UInt8[np.ndarray, "h w 3"]], indices: Sequence[int], resolved: ResolvedParse
) -> TokenFeatures:
    """Returns the features of frames of one size.

    They are the mean over the sites of the attention's queries, heads side by side, each token's divided by its largest
    absolute value (VidSeg, supplementary; its released code). There, frames are denoised for some steps first; here
    they are read at one noise level, under the null text and without guidance, so that a frame costs one early-ended
    forward.

    Args:
        observer: What shows the model the frames.
        images: Frames at native size.
        indices: Their numbers, which seed the noise.
        resolved: Sites and places.

    Raises:
        SettingsError: if the sites are not of one width.
    """

    def extract(some: slice) -> TokenFeatures:
        return _extract(observer, images[some], indices[some], resolved)

    # Frames of a video model see each other, so all of them go together.
    alone = observer.backbone.card.chunk == 1
    parts = [*observer.halving.parts(extract, len(images), _TOGETHER)] if alone else [extract(slice(None))]
    return TokenFeatures(torch.cat([part.tokens for part in parts]), torch.cat([part.correspond for part in parts]))


def _extract(
    observer: Observer, images: Sequence[UInt8[np.ndarray, "h w 3"]], indices: Sequence[int], resolved: ResolvedParse
) -> TokenFeatures:
    noisy = observer.noise(observer.encode(images, indices), indices)
    seen = observer.observe(noisy, observer.condition(images), sites=[*resolved.sites, resolved.correspond])
    queries = [_joined(seen.queries[site.path]) for site in resolved.sites]
    if len({each.shape for each in queries}) != 1:
        shapes = ", ".join(f"{site.path} {tuple(q.shape[1:])}" for site, q in zip(resolved.sites, queries, strict=True))
        raise SettingsError(f"features are the mean of sites of one width, found {shapes}; choose other sites")
    tokens = placed(normalised(torch.stack(queries).mean(0)), resolved.grid, resolved.place)
    return TokenFeatures(tokens, _joined(seen.queries[resolved.correspond.path]))


def normalised(features: Float[Tensor, "*n c"]) -> Float[Tensor, "*n c"]:
    """Returns features divided by their largest absolute value."""
    return features / features.abs().amax(-1, keepdim=True).clamp(min=1e-6)


def placed(features: Float[Tensor, "f s c"], grid: tuple[int, int], weight: float) -> Float[Tensor, "f s d"]:
    """Returns features beside (y, x), as shares of height and width, times a weight; as they are if it is 0.

    The paper has no places. Between two batches things move little, and look-alikes far apart are distinguished.
    """
    if not weight:
        return features
    rows, columns = ((torch.arange(side, device=features.device) + 0.5) / side for side in grid)
    where = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1)
    return torch.cat([features, weight * where.expand(len(features), -1, -1)], -1)


def _joined(queries: Float[Tensor, "f a s d"]) -> Float[Tensor, "f s c"]:
    """Returns queries with their heads side by side, float32."""
    return queries.float().transpose(1, 2).flatten(2)


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


def vote(soft: Float[Tensor, "f m s"], paths: Paths) -> Float[Tensor, "f m s"]:
    """Returns labels after each kept path has lent its mean label to the tokens it passes.

    Args:
        soft: Labels of the tokens.
        paths: Kept paths, any number of which may meet on a token; a token that none passes keeps its label.
    """
    frames, classes, tokens = soft.shape
    places = paths.places[:, paths.kept]
    along = torch.stack([soft[t][:, places[t]] for t in range(frames)]).mean(0)
    result = soft.clone()
    for t in range(frames):
        # Sums in a fixed order: matrices of ones and zeros would be the same, but larger.
        total = soft.new_zeros(classes, tokens).index_add_(1, places[t], along)
        votes = soft.new_zeros(tokens).index_add_(0, places[t], torch.ones_like(places[t], dtype=soft.dtype))
        passed = votes > 0
        result[t][:, passed] = total[:, passed] / votes[passed]
    return result
