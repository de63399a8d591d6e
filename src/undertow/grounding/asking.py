"""Where frames show what an expression names, by a model that was fine-tuned to answer with masks.

The other reader, `Grounder`, looks into the attention of a frozen model, at one picture. This one is shown all frames
that are looked at as one short clip, so that it can tell what moves, enters or was there first.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch.nn.functional as functional
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.backbones import Backbone
from undertow.grounding.generator import MaskGenerator
from undertow.grounding.grounder import Sight
from undertow.grounding.heat import Proposer, find_peaks, score_masks
from undertow.grounding.settings import WordSettings
from undertow.grounding.words import Expression, parse_expression


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
        trained = None if backbone.fine_tuning is None else backbone.fine_tuning.size
        self._generator = MaskGenerator(backbone, trained or backbone.input_size(*size))

    def look(self, image: UInt8[np.ndarray, "h w 3"], *texts: str, index: int = 0) -> list[Sight]:
        """Returns what is seen of each expression in one picture, see `Grounder.look`."""
        return next(self.through({index: image}, texts))

    def through(self, images: Mapping[int, UInt8[np.ndarray, "h w 3"]], texts: Sequence[str]) -> Iterator[list[Sight]]:
        """Yields what is seen of each expression in every frame, see `Grounder.through`; all are shown together.

        Raises:
            CueError: if an expression is empty or has no word to look for.
        """
        expressions = [parse_expression(text, phrase=self.words.phrase) for text in texts]
        video = self._generator.encode(np.stack(list(images.values())))
        answers = [self._generator.answer(video, self._generator.read(each.text)) for each in expressions]
        scores = [self._generator.scores(answer, len(images)).cpu() for answer in answers]
        for place, image in enumerate(images.values()):
            yield [self._sight(image, said, score[place]) for said, score in zip(expressions, scores, strict=True)]

    def _sight(self, image: UInt8[np.ndarray, "h w 3"], expression: Expression, score: Float[Tensor, "gh gw"]) -> Sight:
        score = score.float().clamp(0, 1)
        own = (functional.interpolate(score[None, None], self.size, mode="bilinear")[0, 0] > 0.5).numpy()
        peaks = find_peaks(score, self.size, self.words.peaks)
        inside = score > 0.5
        certain = float(score[inside].mean() - score[~inside].mean()) if inside.any() and not inside.all() else 0.0
        proposals = [(own, 1.0, "the answer")]
        if self.propose is not None and own.any() and not expression.plural:
            proposals += self.propose(image, score, peaks)
        return Sight(
            expression=expression,
            heat=score,
            contrast=certain,
            peaks=tuple(peaks),
            tokens=(),
            blocks={},
            found=bool(own.any()),
            candidates=tuple(score_masks(score, proposals)),
        )
