"""Where frames show what an expression names, by a model that was fine-tuned to answer with masks.

The other reader, `Grounder`, looks into the attention of a frozen model, at one picture. This one is shown all frames
that are looked at as one short clip, so that it can tell what moves, enters or was there first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from undertow.backbones import Backbone
from undertow.grounding.deeds import ANYTHING
from undertow.grounding.generator import MaskGenerator
from undertow.grounding.grounder import Grounder, Sight
from undertow.grounding.heat import Candidate, Peak, Proposer, find_peaks, mean_inside, score_masks
from undertow.grounding.proposals import hot_part, part_around
from undertow.grounding.readers import tell_unknown
from undertow.grounding.settings import WordSettings
from undertow.grounding.superlatives import how_far, superlative_of
from undertow.grounding.words import Expression, parse_expression
from undertow.observing.settings import FrameSettings

ANSWER = "the answer"
# On validation pictures (288 expressions, and 36 of things that are not there) 90 % of the answers to what is there are
# so high somewhere, and four in ten of the others; masks that were cut out had a J of 0.50, and the answers of 0.44.
# `ALIKE` is the least overlap (J) of the two.
LEAST, ALIKE = 0.26, 0.4
# So much of the answer to `ANYTHING` is taken off where parts are compared.
SHARE = 0.5
# Other things that may be meant: peaks of this share of the highest, and how many.
LOW, PEAKS = 0.4, 3
# Things that are compared where one is said to be most of all: around so many peaks of this share of the highest, those
# in which the mean answer is at least this share of the highest such mean (docs/referring-trained.md).
FAINT, COMPARED, NEARLY = 0.25, 8, 0.7


@dataclass(frozen=True)
class Part:
    """A part of a frame that may be what a sentence names.

    Attributes:
        frame: Its number.
        mask: The part.
        value: The mean of the answer inside, less `SHARE` of that to "the object".
        heat: The answer.
    """

    frame: int
    mask: Bool[np.ndarray, "h w"]
    value: float
    heat: Float[Tensor, "gh gw"]


def finder_of(
    reader: Backbone,
    size: tuple[int, int],
    words: WordSettings | None = None,
    frames: FrameSettings | None = None,
    propose: Proposer | None = None,
) -> "Grounder | Asker":
    """Returns what finds words in frames of one size: a model that was fine-tuned to answer is asked, others are read.

    Args:
        reader: A model that reads text.
        size: (height, width) of the frames.
        words: How words become masks.
        frames: At which size and noise level a model is shown them that is looked into.
        propose: What makes masks of peaks.
    """
    if reader.fine_tuning is not None:
        return Asker(reader, size, words, propose)
    return Grounder(reader, size, words, frames, propose)


class Asker:
    """Asks a fine-tuned generator what expressions name in frames of one size.

        asker = Asker(ut.load("tiny-refer"), (480, 854))
        sight = asker.look(image, "the red disc")

    Args:
        backbone: A model that was fine-tuned to answer.
        size: (height, width) of the frames.
        words: How words become masks.
        propose: What makes other masks of the answer, such as a segmenter; without it there is only the answer.

    Raises:
        SettingsError: if the model was not fine-tuned.
    """

    def __init__(
        self,
        backbone: Backbone,
        size: tuple[int, int],
        words: WordSettings | None = None,
        propose: Proposer | None = None,
    ) -> None:
        self.backbone, self.size, self.propose = backbone, size, propose
        self.words = words or WordSettings()
        # Texts whose unknown words have been told.
        self._told: set[str] = set()
        trained = None if backbone.fine_tuning is None else backbone.fine_tuning.size
        self._generator = MaskGenerator(backbone, trained or backbone.input_size(*size))

    def look(self, image: UInt8[np.ndarray, "h w 3"], *texts: str, index: int = 0) -> list[Sight]:
        """Returns what is seen of each expression in one picture, see `Grounder.look`."""
        return next(self.through({index: image}, texts))

    def through(self, images: Mapping[int, UInt8[np.ndarray, "h w 3"]], texts: Sequence[str]) -> Iterator[list[Sight]]:
        """Yields what is seen of each expression in every frame, see `Grounder.through`.

        All are shown together; if they are more than the model was trained on, as several clips that each span them.

        Raises:
            CueError: if an expression is empty or has no word to look for.
        """
        expressions = [parse_expression(text, phrase=self.words.phrase) for text in texts]
        for each in expressions:
            if self.backbone.card.embedded and each.text not in self._told:
                tell_unknown(self.backbone, each, self.backbone.condition(each.text).spans)
                self._told.add(each.text)
        answers = self._answers(list(images.values()), [each.text for each in expressions])
        for image, scores in zip(images.values(), answers, strict=True):
            yield [self._sight(image, said, score) for said, score in zip(expressions, scores, strict=True)]

    def parts(self, images: Mapping[int, UInt8[np.ndarray, "h w 3"]], text: str, phrase: str) -> Iterator[Part]:
        """Yields what a sentence may name: around the peaks of the answers to it and to its phrase, the highest first.

        Args:
            images: Frames by number, of the asker's size; all are shown together, see `through`.
            text: The sentence, by which parts are valued.
            phrase: What of it says how the thing looks.
        """
        answers = self._answers(list(images.values()), [text, phrase, ANYTHING])
        shown = list(zip(images.items(), answers, strict=True))
        masks = [[self._around_peaks(image, scores[of]) for (_, image), scores in shown] for of in (0, 1)]
        for rank in range(PEAKS):
            for found in masks:
                for ((number, _), (score, _, anything)), parts in zip(shown, found, strict=True):
                    for _, mask in parts[rank : rank + 1]:
                        yield Part(number, mask, mean_inside(score - SHARE * anything, mask), score)

    def _answers(
        self, frames: Sequence[UInt8[np.ndarray, "h w 3"]], texts: Sequence[str]
    ) -> list[Float[Tensor, "n gh gw"]]:
        """Returns the answers to each text, by frame."""
        clips = -(-len(frames) // self._generator.about.window)
        seen = [self._scores(frames[first::clips], texts) for first in range(clips)]
        return [seen[place % clips][:, place // clips].float().clamp(0, 1) for place in range(len(frames))]

    def _scores(self, frames: Sequence[UInt8[np.ndarray, "h w 3"]], texts: Sequence[str]) -> Float[Tensor, "n t gh gw"]:
        """Returns the answers for frames that are shown together."""
        video = self._generator.encode(np.stack(frames))
        answers = (self._generator.answer(video, self._generator.read(each)) for each in texts)
        return torch.stack([self._generator.scores(answer, len(frames)).cpu() for answer in answers])

    def _sight(self, image: UInt8[np.ndarray, "h w 3"], expression: Expression, score: Float[Tensor, "gh gw"]) -> Sight:
        peaks, candidates = self._compared(image, expression, score)
        if not candidates:
            peaks = find_peaks(score, self.size, self.words.peaks)
            candidates = self._candidates(image, expression, score, peaks)
        highest = float(score.max())
        return Sight(
            expression=expression,
            heat=score,
            contrast=highest,
            peaks=tuple(peaks),
            tokens=(),
            blocks={},
            found=highest >= (LEAST if self.words.least is None else self.words.least),
            candidates=tuple(candidates),
        )

    def _candidates(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        said: Expression,
        score: Float[Tensor, "gh gw"],
        peaks: list[Peak],
    ) -> list[Candidate]:
        """Returns the answer around its highest place, after what was cut out there if the two are alike.

        A small model is unsure, and its answer lies between a mask and none: Otsu's threshold parts it, 0.5 does not.
        """
        hot = hot_part(score, self.size)
        if said.plural or self.propose is None:
            return score_masks(score, [(hot if said.plural else part_around(hot, peaks[0]), 1.0, ANSWER)])
        part = part_around(hot, peaks[0])
        found = score_masks(score, [(part, 1.0, ANSWER), *self.propose(image, score, peaks)])
        cut = [each for each in found if each.made_of.endswith("box of peak 1")]
        cut = [each for each in cut if alike(each.mask, part)]
        first = [*(each.made_of for each in cut), ANSWER]
        return sorted(found, key=lambda each: first.index(each.made_of) if each.made_of in first else len(first))

    def _compared(
        self, image: UInt8[np.ndarray, "h w 3"], said: Expression, score: Float[Tensor, "gh gw"]
    ) -> tuple[list[Peak], list[Candidate]]:
        """Returns what may be meant, what is most so first; nothing unless something is said to be so most of all."""
        if (most := superlative_of(said)) is None:
            return [], []
        parts = self._around_peaks(image, score, COMPARED, FAINT)
        means = [mean_inside(score, mask) for _, mask in parts]
        near = [part for part, mean in zip(parts, means, strict=True) if mean >= NEARLY * max(means)]
        near.sort(key=lambda part: -how_far(most, image, part[1]))
        named = [(mask, 1.0, f"part {number}, compared") for number, (_, mask) in enumerate(near, 1)]
        return [peak for peak, _ in near], [each for one in named for each in score_masks(score, [one])]

    def _around_peaks(
        self, image: UInt8[np.ndarray, "h w 3"], score: Float[Tensor, "gh gw"], most: int = PEAKS, least: float = LOW
    ) -> list[tuple[Peak, Bool[np.ndarray, "h w"]]]:
        """Returns the higher peaks with the mask around each: what was cut out there, if the answer is like it."""
        peaks, hot = find_peaks(score, self.size, most, least), hot_part(score, self.size)
        proposed = self.propose(image, score, peaks) if self.propose else ()
        masks = []
        for number, peak in enumerate(peaks, 1):
            part = part_around(hot, peak)
            cut = [mask for mask, _, made_of in proposed if made_of.endswith(f"box of peak {number}")]
            masks.append((peak, next((mask for mask in cut if alike(mask, part)), part)))
        return [(peak, mask) for peak, mask in masks if mask.any() and not mask.all()]


def alike(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"], least: float = ALIKE) -> bool:
    """Returns whether two masks overlap (J) by more than so much."""
    return bool((one & other).sum() > least * (one | other).sum())
