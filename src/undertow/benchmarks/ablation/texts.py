"""What the objects of benchmark sequences are called: class names and captions, for the paper's table 1.

Those of the worlds are made from their scenes. Those of DAVIS were written by hand, short enough for a small text
encoder: the paper takes captions of BLIP-2 of each object, cut out with a margin on a masked background.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from undertow.benchmarks.core.sample import Sample
from undertow.benchmarks.masks.sample import MaskSample
from undertow.world import SUITES
from undertow.world.captions import phrase, place


@dataclass(frozen=True)
class ObjectTexts:
    """A class name, and a sentence about the object."""

    class_name: str
    caption: str

    def of(self, kind: str) -> str:
        """Returns the text of a kind, "class" or "caption"."""
        return self.class_name if kind == "class" else self.caption


Texts = Mapping[str, Mapping[int, ObjectTexts]]
"""Texts of objects by id, by whatever tells videos apart."""

DAVIS: dict[str, tuple[str, str]] = {
    "bike-packing": ("man", "a man rides a bike"),
    "blackswan": ("swan", "a black swan swims"),
    "bmx-trees": ("rider", "a boy on a bike"),
    "breakdance": ("dancer", "a man dances"),
    "camel": ("camel", "a camel walks"),
    "car-roundabout": ("car", "a grey car turns"),
    "car-shadow": ("car", "a dark car drives"),
    "cows": ("cow", "a brown cow walks"),
    "dance-twirl": ("dancer", "a woman dances"),
    "dog": ("dog", "a small dog runs"),
    "dogs-jump": ("dog", "a dog jumps"),
    "drift-chicane": ("car", "a car drifts"),
    "drift-straight": ("car", "a red car drifts"),
    "goat": ("goat", "a goat on rocks"),
    "gold-fish": ("fish", "a gold fish swims"),
    "horsejump-high": ("horse", "a horse jumps"),
    "india": ("woman", "a woman walks"),
    "judo": ("man", "a man fights"),
    "kite-surf": ("surfer", "a man with a kite"),
    "lab-coat": ("woman", "a woman walks"),
    "libby": ("dog", "a small dog runs"),
    "loading": ("man", "a man with a box"),
    "mbike-trick": ("motorbike", "a man on a bike"),
    "motocross-jump": ("motorbike", "a bike jumps"),
    "paragliding-launch": ("man", "a man on grass"),
    "parkour": ("man", "a man runs"),
    "pigs": ("pig", "a pink pig"),
    "scooter-black": ("scooter", "a black scooter"),
    "shooting": ("man", "a man with a gun"),
    "soapbox": ("soapbox", "a box with wheels"),
}
TEXTS_DIGEST = hashlib.sha256(json.dumps(DAVIS, sort_keys=True).encode()).hexdigest()[:16]


def texts_of(sample: Sample) -> dict[int, ObjectTexts]:
    """Returns what the objects of a sample are called, by id; nothing if nobody has written it down."""
    if not isinstance(sample, MaskSample):
        return {}
    for clip in SUITES.get(sample.dataset, ()):
        if clip.name == sample.name:
            things = clip.scene().things
            size = (clip.height, clip.width)
            return {
                number: ObjectTexts(
                    things[number - 1].shape.kind,
                    f"a {phrase(things[number - 1], size)} is {place(things[number - 1], size)}.",
                )
                for number in sample.ids
            }
    if sample.name in DAVIS:
        # All objects of a sequence share its text: nobody has named them one by one.
        return dict.fromkeys(sample.ids, ObjectTexts(*DAVIS[sample.name]))
    return {}


def known_texts(samples: Sequence[Sample]) -> list[str]:
    """Returns the names of the samples whose objects have texts."""
    return [sample.name for sample in samples if texts_of(sample)]
