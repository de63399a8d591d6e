"""A first mask from a word (experimental): where the model's cross-attention finds it, carried on by self-attention.

DRIFT (Kim et al. 2025, arXiv 2511.19936), figure 1: the cross-attention map of a word is coarse; self-attention, which
knows what belongs together, makes a mask of it. The paper gives no recipe; what is done here is written below.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.backbones import Backbone, Site
from undertow.base import CueError, SettingsError
from undertow.masks import LabelMap
from undertow.observing.observer import Observer
from undertow.observing.settings import noise_level
from undertow.tracking.settings import ResolvedSettings, TrackSettings, observer_of, resolve
from undertow.tracking.tuning.attention import carry_per_head


@dataclass(frozen=True)
class WordSettings:
    """How a word becomes a mask.

    Attributes:
        sentence: What the model is told; {} stands for the word.
        timestep: Told to the network for the cross-attention; `None` for the card's.
        rounds: How often self-attention carries the map on.
        temperature: Of that self-attention; `None` for the one that masks are tracked with.
        least: A map whose highest value is below this many times its mean has found nothing.
    """

    sentence: str = "a {}."
    timestep: int | None = None
    rounds: int = 3
    temperature: float | None = None
    least: float = 1.2

    def __post_init__(self) -> None:
        if self.sentence.count("{}") != 1:
            raise SettingsError(f"the sentence '{self.sentence}' must hold {{}} once, where the word goes")
        if self.rounds < 0 or self.least < 0:
            raise SettingsError(f"rounds {self.rounds} and least {self.least} must not be negative")


def word_mask(
    backbone: Backbone,
    image: UInt8[np.ndarray, "h w 3"],
    word: str,
    settings: TrackSettings | None = None,
    how: WordSettings | None = None,
) -> LabelMap:
    """Returns a label map (h, w) in which 1 is what a word names.

    Args:
        backbone: An image model with a text encoder.
        image: RGB frame.
        word: A word, or a few, such as "disc" or "red disc".
        settings: Tracking options, for size and noise.
        how: How a word becomes a mask.

    Raises:
        CueError: if the word is empty, is not read as such by the model, or nothing is found.
    """
    how = how or WordSettings()
    soft = word_map(backbone, image, word, settings, how)
    if float(soft.max()) < how.least * float(soft.mean()):
        raise CueError(f"'{word}' was found nowhere; give a --box or a --point")
    # The threshold is chosen on the grid, where every value is one of the model's.
    inside = soft - otsu(soft)
    whole = functional.interpolate(inside[None, None], image.shape[:2], mode="bilinear", align_corners=False)[0, 0]
    mask: LabelMap = (whole > 0).numpy().astype(np.uint16)
    if not mask.any():
        raise CueError(f"'{word}' was found nowhere; give a --box or a --point")
    return mask


@torch.no_grad()
def word_map(
    backbone: Backbone,
    image: UInt8[np.ndarray, "h w 3"],
    word: str,
    settings: TrackSettings | None = None,
    how: WordSettings | None = None,
) -> Float[Tensor, "gh gw"]:
    """Returns how much each token of the tracking grid is what a word names: in [0, 1], not a probability.

    1. The softmax over all pieces of the sentence, in the cross-attentions of the decoder; the share of the word's own
       pieces is averaged over heads and places.
    2. It is stretched to [0, 1], and carried `rounds` times by the dense self-attention of the tracking site within the
       frame, a token's own part left out, and stretched again.
    """
    how = how or WordSettings()
    resolved = resolve(settings or TrackSettings(), backbone, *image.shape[:2])
    first = cross_attention_map(backbone, image, word, resolved, how)
    if not how.rounds:
        return _stretched(first)
    features = observer_of(backbone, resolved).see([image], [0])[0]
    kernel = resolved.kernel if how.temperature is None else replace(resolved.kernel, temperature=how.temperature)
    carried = _stretched(first).flatten()[None, None]
    for _ in range(how.rounds):
        per_head = carry_per_head(features.queries[None], features.keys[None], carried, kernel, exclude_self=True)
        carried = _stretched(per_head.mean(1))
    return carried.view(resolved.grid).cpu()


@torch.no_grad()
def cross_attention_map(
    backbone: Backbone, image: UInt8[np.ndarray, "h w 3"], word: str, resolved: ResolvedSettings, how: WordSettings
) -> Float[Tensor, "gh gw"]:
    """Returns the mean attention of the image's tokens to the pieces of a word, over the decoder's cross-attentions."""
    places = _places(backbone, how.sentence, word)
    conditioning = backbone.condition(how.sentence.format(word.strip()))
    observer = Observer(backbone, replace(resolved, noising=noise_level(resolved.noising, how.timestep)))
    noisy = observer.noise(observer.encode([image], [0]), [0])
    maps = []
    for stride, sites in _by_stride(cross_sites(backbone)).items():
        seen = observer.observe(noisy, conditioning, sites=sites)
        for site in sites:
            queries, keys = seen.queries[site.path][0].float(), seen.keys[site.path][0].float()
            share = (queries @ keys.mT / site.head_dim**0.5).softmax(-1)[..., places].sum(-1).mean(0)
            grid = (resolved.input_size[0] // stride, resolved.input_size[1] // stride)
            small = share.view(1, 1, *grid)
            maps.append(functional.interpolate(small, resolved.grid, mode="bilinear", align_corners=False)[0, 0])
    return torch.stack(maps).mean(0).cpu()


def cross_sites(backbone: Backbone) -> tuple[Site, ...]:
    """Returns the cross-attentions of the decoder, in order."""
    found = tuple(site for site in backbone.sites("cross") if site.path.startswith("up_blocks."))
    if not found:
        raise SettingsError(f"'{backbone.card.name}' has no cross-attention in its decoder; give a --box or a --point")
    return found


def otsu(values: Float[Tensor, "gh gw"], bins: int = 256) -> float:
    """Returns the threshold that parts values best: the one with the largest variance between both sides (Otsu, 1979).

    Where a whole range of thresholds parts them alike, its middle.
    """
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return low
    counts = torch.histc(values.float(), bins, low, high).double()
    centres = low + (torch.arange(bins, dtype=torch.float64) + 0.5) * (high - low) / bins
    below = counts.cumsum(0)
    above = below[-1] - below
    sums = (counts * centres).cumsum(0)
    means = sums / below.clamp(min=1), (sums[-1] - sums) / above.clamp(min=1)
    between = below * above * (means[0] - means[1]) ** 2
    best = (between >= between.max() * (1 - 1e-9)).nonzero()[:, 0].double().mean()
    return low + (float(best) + 1) * (high - low) / bins


def _places(backbone: Backbone, sentence: str, word: str) -> list[int]:
    """Returns where the pieces of a word stand among the states of the sentence.

    Raises:
        CueError: if the word is empty, or not made of words that the embedded vocabulary has whole.
    """
    word = word.strip()
    if not word:
        raise CueError("--text is empty; give a word for the object, such as disc")
    before = backbone.pieces(sentence.partition("{}")[0])
    pieces = backbone.pieces(word)
    strange = (
        [] if len(pieces) == len(word.split()) else [each for each in word.split() if len(backbone.pieces(each)) > 1]
    )
    if strange and backbone.card.embedded:
        # A large tokenizer splits many words that it knows well; one of a few hundred words spells what it never saw.
        raise CueError(
            f"'{backbone.card.name}' does not know the word '{strange[0]}'; it knows shapes, colours and textures such "
            "as disc, red and striped: use one of them, a --box or a --point"
        )
    return list(range(1 + len(before), 1 + len(before) + len(pieces)))


def _by_stride(sites: Sequence[Site]) -> dict[int, list[Site]]:
    strides: dict[int, list[Site]] = {}
    for site in sites:
        strides.setdefault(site.stride, []).append(site)
    return strides


def _stretched(values: Tensor) -> Tensor:
    """Returns values brought to [0, 1]."""
    low, high = values.amin(), values.amax()
    return (values - low) / (high - low).clamp(min=1e-12)
