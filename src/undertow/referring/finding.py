"""Which frames show best what expressions name, and the masks they get there.

RefAM looks at frame 0 alone. An object may enter later, or be small or hidden there; so a few frames are looked at, and
each expression is given the mask of the frame in which its map has the clearest peak and the segmenter is surest.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from undertow.base import CueError
from undertow.grounding import Asker, Grounder, Sight
from undertow.masks import LabelMap
from undertow.runs.cues import Cue
from undertow.video import Clip

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """What was found of one expression.

    Attributes:
        object_id: The number it has in masks.
        frame: The frame it was seen best in.
        sight: What was seen there.
        looked: Value of every frame that was looked at: contrast times quality of the best mask; of what is named by
            what it does, how well the best track from there fits.
    """

    object_id: int
    frame: int
    sight: Sight
    looked: Mapping[int, float]

    @property
    def present(self) -> bool:
        """Whether there is a mask to go by."""
        return self.sight.found and bool(self.sight.candidates)

    def as_dict(self) -> dict[str, Any]:
        """Returns what words.json keeps of it."""
        best = self.sight.candidates[0] if self.sight.candidates else None
        return {
            "object": self.object_id,
            "text": self.sight.expression.text,
            "words": [{"word": word.text, "role": word.role} for word in self.sight.expression.words],
            "places": list(self.sight.expression.places),
            "present": self.present,
            "frame": self.frame,
            "contrast": round(self.sight.contrast, 4),
            "point": [round(self.sight.peaks[0].x, 1), round(self.sight.peaks[0].y, 1)] if self.sight.peaks else None,
            "mask": None if best is None else {"made_of": best.made_of, "score": round(best.score, 4)},
            "looked": {str(frame): round(value, 4) for frame, value in self.looked.items()},
        }


def pivot_frames(clip: Clip, count: int) -> list[int]:
    """Returns up to `count` frame numbers, spread evenly over a clip; of a stream, the first."""
    numbers = clip.numbers
    if numbers is None or not clip.video.again or not numbers:
        return [clip.start]
    return spread(numbers, count)


def spread(numbers: Sequence[int], count: int) -> list[int]:
    """Returns up to so many of the numbers, spread evenly."""
    return sorted({numbers[int((i + 0.5) * len(numbers) / count)] for i in range(count)})


def find(cues: Sequence[Cue], clip: Clip, finder: Grounder | Asker, frames: Sequence[int]) -> list[Finding]:
    """Returns what is found of each expression; frames are looked at once, for all expressions.

    Args:
        cues: Texts with an object id each. One that names a frame is looked for there.
        clip: The video.
        finder: For frames of its size.
        frames: Where the others are looked for.

    Raises:
        CueError: if an expression has no word to look for.
    """
    where = {cue.object_id: (cue.frame,) if "@" in cue.typed else tuple(frames) for cue in cues}
    images = {
        seen.index: seen.image for seen in clip.video.frames(sorted({n for each in where.values() for n in each}))
    }
    best: dict[int, Finding] = {}
    for numbers in dict.fromkeys(where.values()):
        asked = [cue for cue in cues if where[cue.object_id] == numbers]
        shown = {number: images[number] for number in sorted(numbers)}
        for number, sights in zip(shown, finder.through(shown, [cue.value for cue in asked]), strict=True):
            for cue, sight in zip(asked, sights, strict=True):
                assert cue.object_id is not None
                value = sight.contrast * max((each.quality for each in sight.candidates), default=0.0)
                known = best.get(cue.object_id)
                looked = {**({} if known is None else known.looked), number: value}
                if known is not None and value <= known.looked[known.frame]:
                    best[cue.object_id] = replace(known, looked=looked)
                    continue
                best[cue.object_id] = Finding(cue.object_id, number, sight, looked)
    return [best[number] for number in sorted(best)]


def label_maps(findings: Sequence[Finding], size: tuple[int, int]) -> dict[int, LabelMap]:
    """Returns the label map of each frame on which something was found; a disputed pixel goes to the higher score.

    Raises:
        CueError: if nothing was found.
    """
    found = [each for each in findings if each.present]
    for each in findings:
        if not each.present:
            log.warning("'%s' was found nowhere", each.sight.expression.text)
    if not found:
        raise CueError("nothing that was named was found; use other words, or give a --box or a --mask to track")
    maps: dict[int, LabelMap] = {}
    for each in sorted(found, key=lambda finding: finding.sight.candidates[0].score):
        maps.setdefault(each.frame, np.zeros(size, np.uint16))[each.sight.mask] = each.object_id
    return maps
