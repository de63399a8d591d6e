"""Where a picture shows what an expression names: one forward of a frozen model that reads text.

1. The expression is taken apart (`words`). The model reads a caption, if there is one, the expression, and magnets
   that are encoded apart, so that they leave the meaning of its words alone.
2. One forward of the noised picture, which ends at the last of the sites, gives maps of all text tokens (`reading`).
3. Stop words, words outside the noun phrase, magnets, special tokens and sinks are left out; what is left is summed,
   times the ramps of place words (`heat`).
4. Masks of the peaks are proposed and scored by the map (`proposals`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from undertow.backbones import Backbone, Conditioning, Site
from undertow.base import CueError, SettingsError
from undertow.grounding.heat import Candidate, Peak, Proposer, contrast, find_peaks, score_masks, spatial_bias
from undertow.grounding.readers import by_stride, tell_unknown, word_sites
from undertow.grounding.reading import TextMaps, combine, mean_maps, read_text
from undertow.grounding.settings import MAGNETS, Reading, WordSettings, magnets_for
from undertow.grounding.words import Expression, parse_expression
from undertow.observing.cache import cache_at
from undertow.observing.observer import Observer
from undertow.observing.settings import FrameSettings, ResolvedFrames, resolve_frames


@dataclass(frozen=True)
class TokenSense:
    """What became of one text token.

    Attributes:
        text: What of the expression it stands for; empty for special tokens.
        fate: "kept", or why not: "stop", "place", "outside" (of the noun phrase), "magnet", "caption", "special",
            "sink".
        map: Its map.
    """

    text: str
    fate: str
    map: Float[Tensor, "gh gw"]


@dataclass(frozen=True)
class Sight:
    """What was seen of one expression in one picture.

    Attributes:
        expression: Taken apart.
        heat: The sum of the maps of the words that count, times the ramps of places; of a model that answers, its
            scores, in [0, 1].
        contrast: How far its highest value stands over its mean, in standard deviations; of a model that answers, the
            highest score.
        peaks: Its highest places, in pixels of the picture.
        tokens: Every text token's map and what became of it; none of a model that answers.
        blocks: The heat of each block alone, by site; none of a model that answers.
        found: Whether the contrast is enough to believe that the picture shows it.
        candidates: Masks, the best first; empty without a proposer.
    """

    expression: Expression
    heat: Float[Tensor, "gh gw"]
    contrast: float
    peaks: tuple[Peak, ...]
    tokens: tuple[TokenSense, ...]
    blocks: dict[str, Float[Tensor, "gh gw"]]
    found: bool
    candidates: tuple[Candidate, ...] = ()

    @property
    def mask(self) -> Bool[np.ndarray, "h w"]:
        """The mask: the best candidate; where several objects are named, the best of each peak with it.

        Raises:
            CueError: if there is no candidate.
        """
        if not self.candidates:
            raise CueError(f"nothing could be cut out for '{self.expression.text}'; give a --box or a --point")
        mask = self.candidates[0].mask
        if self.expression.plural:
            for number in range(1, len(self.peaks) + 1):
                of_peak = [each for each in self.candidates if each.made_of.endswith(f"peak {number}")]
                if of_peak and of_peak[0].score > 0:
                    mask = mask | of_peak[0].mask
        return mask


@dataclass(frozen=True)
class _Text:
    """A conditioning whose tokens are known: of each, what it is of, and the words' tokens by their numbers."""

    conditioning: Conditioning
    labels: list[tuple[str, str]]
    words: dict[int, list[int]] = field(default_factory=dict)


class Grounder:
    """Finds what expressions name in pictures of one size.

        grounder = Grounder(ut.load("sd-2.1"), (480, 854))
        sight = grounder.look(image, "the red kite")

    Args:
        backbone: A model that reads text.
        size: (height, width) of the pictures.
        words: How words become masks.
        frames: At which size and noise level the model is shown them.
        propose: What makes masks of peaks; without it there are none.
        sites: Where words are read, if not where `word_sites` says.

    Raises:
        SettingsError: if the model cannot read text.
    """

    def __init__(
        self,
        backbone: Backbone,
        size: tuple[int, int],
        words: WordSettings | None = None,
        frames: FrameSettings | None = None,
        propose: Proposer | None = None,
        sites: Sequence[Site] = (),
    ) -> None:
        self.backbone, self.size, self.propose = backbone, size, propose
        words, card = words or WordSettings(), backbone.card
        self.reading: Reading = words.reading or card.word_reading
        self.least = card.word_contrast if words.least is None else words.least
        self.words = words
        self.sites = tuple(sites) or word_sites(backbone)
        frames = frames or FrameSettings()
        resolved = resolve_frames(frames, backbone, *size, "refer")
        self.resolved: ResolvedFrames = replace(resolved, sites=self.sites)
        self._observer = Observer(backbone, self.resolved, cache=cache_at(frames.cache))

    @torch.no_grad()
    def look(self, image: UInt8[np.ndarray, "h w 3"], *texts: str, index: int = 0) -> list[Sight]:
        """Returns what is seen of each expression; the picture is encoded once.

        Args:
            image: RGB picture of the grounder's size.
            texts: Expressions.
            index: Number of the frame, which seeds its noise.

        Raises:
            CueError: if an expression is empty or has no word to look for.
            SettingsError: if one is longer than the model reads.
        """
        expressions = [parse_expression(text, phrase=self.words.phrase) for text in texts]
        clean = self._observer.encode([image], [index])
        return [self._sight(image, clean, index, each) for each in expressions]

    def through(self, images: Mapping[int, UInt8[np.ndarray, "h w 3"]], texts: Sequence[str]) -> Iterator[list[Sight]]:
        """Yields what is seen of each expression in every frame, by its number, in order; see `look`."""
        for index, image in images.items():
            yield self.look(image, *texts, index=index)

    def _sight(
        self, image: UInt8[np.ndarray, "h w 3"], clean: Float[Tensor, "1 c h w"], index: int, expression: Expression
    ) -> Sight:
        grids = self._grids()
        counting = [i for i, word in enumerate(expression.words) if word.role == "kept"]
        for count in sorted({self.words.magnets, len(MAGNETS)}):
            text = self._read(expression, magnets_for(expression.text, count))
            maps = self._maps(clean, index, text.conditioning)
            tokens, sinks = mean_maps(list(maps.values()), list(grids.values()))
            kept = [text.words[i] for i in counting]
            sunk = [i for word in kept for i in word if i in sinks]
            if not sunk or self.words.sinks != "redirect":
                break
        if sunk and self.words.sinks == "fallback":
            maps = {path: each for path, each in maps.items() if not each.sinks[sunk].any()} or maps
            tokens, sinks = mean_maps(list(maps.values()), [grids[path] for path in maps])
        dropped = [] if self.words.sinks == "keep" else sinks
        if all(i in dropped for word in kept for i in word):
            # Nothing else is left to go by.
            dropped = [i for i in dropped if i not in sunk]
        renormalise = self.reading == "B"
        bias = spatial_bias((tokens.shape[1], tokens.shape[2]), expression.places if self.words.spatial else ())
        heat = combine(tokens, kept, dropped, renormalise=renormalise).cpu() * bias
        peaks = find_peaks(heat, self.size, self.words.peaks)
        clear = contrast(heat)
        return Sight(
            expression=expression,
            heat=heat,
            contrast=clear,
            peaks=tuple(peaks),
            tokens=tuple(
                TokenSense(of, "sink" if i in dropped else fate, tokens[i].cpu())
                for i, (of, fate) in enumerate(text.labels)
            ),
            blocks={
                path: combine(each.shares.view(-1, *grids[path]), kept, dropped, renormalise=renormalise).cpu()
                for path, each in maps.items()
            },
            found=clear >= self.least,
            candidates=tuple(score_masks(heat, self.propose(image, heat, peaks)) if self.propose else ()),
        )

    def _maps(self, clean: Float[Tensor, "1 c h w"], index: int, conditioning: Conditioning) -> dict[str, TextMaps]:
        """Returns what each site says, by its path: the mean over draws of noise."""
        grids = self._grids()
        every: list[dict[str, TextMaps]] = []
        for draw in range(self.words.repeats):
            noising = replace(self.resolved.noising, seed=self.resolved.noising.seed + draw)
            noisy = self._observer.noise(clean, [index], noising)
            found: dict[str, TextMaps] = {}
            for sites in by_stride(self.sites):
                seen = self._observer.observe(noisy, conditioning, sites=sites)
                found |= {site.path: read_text(seen, site, self.reading) for site in sites}
            every.append({path: found[path] for path in grids})
        return {
            path: TextMaps(
                torch.stack([each[path].shares for each in every]).mean(0),
                torch.stack([each[path].sinks for each in every]).float().mean(0) > 0.5,
            )
            for path in grids
        }

    def _grids(self) -> dict[str, tuple[int, int]]:
        """Returns the (height, width) in tokens of each site, by its path."""
        height, width = self.resolved.input_size
        return {site.path: (height // site.stride, width // site.stride) for site in self.sites}

    def _read(self, expression: Expression, magnets: Sequence[str]) -> _Text:
        """Returns the states of caption, expression and magnets side by side, and what each of them is of."""
        before = f"{self.words.caption.strip()} " if self.words.caption else ""
        whole = self.backbone.condition(before + expression.text)
        if len(whole.spans) != len(whole.tensor):
            raise SettingsError(
                f"the words of a text cannot be found again in '{self.backbone.card.name}'; give a --box or a --point"
            )
        labels: list[tuple[str, str]] = []
        words: dict[int, list[int]] = {i: [] for i in range(len(expression.words))}
        for state, (start, end) in enumerate(whole.spans):
            start, end = start - len(before), end - len(before)
            inside = [i for i, word in enumerate(expression.words) if start < word.end and end > word.start]
            if end <= 0 or start == end:
                labels.append(("", "caption" if end + len(before) > 0 and before else "special"))
            elif not inside:
                labels.append((expression.text[start:end], "stop"))
            else:
                labels.append((expression.text[max(start, 0) : end], expression.words[inside[0]].role))
                for i in inside:
                    words[i].append(state)
        tell_unknown(
            self.backbone, expression, [(start - len(before), end - len(before)) for start, end in whole.spans]
        )
        if self.backbone.any_text_length:
            # No padding, which would compete with the words: only the end token behind the last of them.
            last = max(state for state, (start, end) in enumerate(whole.spans) if end > start) + 2
            whole, labels = replace(whole, tensor=whole.tensor[:last]), labels[:last]
        parts = [whole.tensor]
        for magnet in magnets if self.backbone.any_text_length else ():
            apart = self.backbone.condition(magnet)
            places = [i for i, (start, end) in enumerate(apart.spans) if end > start]
            # A magnet brings its own end token, as in the paper's figure.
            last = min(places[-1] + 2, len(apart.tensor))
            parts.append(apart.tensor[places[0] : last])
            labels += [(magnet, "magnet")] * (last - places[0])
        return _Text(replace(whole, tensor=torch.cat(parts), spans=()), labels, words)


def stretched(values: Float[Tensor, "gh gw"], size: tuple[int, int]) -> Float[Tensor, "h w"]:
    """Returns a map brought to [0, 1] and to the size of a picture, for drawing."""
    low, high = values.amin(), values.amax()
    unit = (values - low) / (high - low).clamp(min=1e-12)
    return functional.interpolate(unit[None, None].float(), size, mode="bilinear", align_corners=False)[0, 0]
