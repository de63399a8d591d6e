"""Which block, noise level and reading of a frozen model grounds words: RefAM's open numbers, measured on worlds.

Every expression is read at every site, level and reading, and a point is right if the hottest place of the map is in
what was named. Expressions of what a picture does not show say how clear a map must be to be believed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8

from undertow.backbones import Backbone, Site
from undertow.base import Progress, SettingsError, SilentProgress
from undertow.grounding import Grounder, WordSettings
from undertow.grounding.heat import contrast, points_into
from undertow.grounding.settings import Reading
from undertow.metrics.calibration import area_under_roc
from undertow.observing.settings import FrameSettings
from undertow.world import FIRST_VALIDATION_SEED, Scene, make_family_scene, scene_expressions
from undertow.world.calm import calm_scene
from undertow.world.truth import looks_of

# Seeds between those by which training is validated and those of benchmarks.
FIRST_SEED = FIRST_VALIDATION_SEED + 60_000
SIZE = (192, 320)
# In turn: pictures in which words are all that matters, then what worlds are like.
SORTS = ("calm", "calm", "plain", "calm", "deformation", "light")
KINDS = {"colour", "texture", "shape", "size"}
MOST = 1000
ALL = "all together"


@dataclass(frozen=True, eq=False)
class WordPicture:
    """A picture, expressions with the masks of what they name, and expressions of what it does not show."""

    name: str
    image: UInt8[np.ndarray, "h w 3"]
    expressions: tuple[tuple[str, Bool[np.ndarray, "h w"]], ...]
    absent: tuple[str, ...]
    chance: float


@dataclass(frozen=True)
class WordRow:
    """How well words are grounded at one place.

    Attributes:
        site: Path of the site; "all together" for the mean of all.
        timestep: Noise level.
        reading: What attention is a share of, see `undertow.grounding.reading`.
        accuracy: Points inside what was named, in percent.
        presence: Area under the ROC curve by which the map's contrast tells what is shown from what is not.
        least: Contrast that parts both best.
    """

    site: str
    timestep: int
    reading: Reading
    accuracy: float
    presence: float
    least: float


@dataclass(frozen=True, eq=False)
class WordAnalysis:
    """What was found: rows, the best first, and how many pictures and expressions they rest on."""

    model: str
    fingerprint: str
    rows: tuple[WordRow, ...]
    chance: float
    pictures: int
    expressions: int

    @property
    def best(self) -> WordRow:
        """The best single site."""
        return next(row for row in self.rows if row.site != ALL)


def word_pictures(count: int, expressions: int = 3) -> list[WordPicture]:
    """Returns `count` pictures of validation worlds, each with up to so many expressions of looks.

    Raises:
        SettingsError: if the number is out of range.
    """
    if not 1 <= count <= MOST:
        raise SettingsError(f"--worlds is {count}; give 1 to {MOST}")
    scenes: list[tuple[str, Scene]] = []
    for number in range(count):
        sort = SORTS[number % len(SORTS)]
        seed = FIRST_SEED + number
        scenes.append((sort, calm_scene(seed, SIZE) if sort == "calm" else make_family_scene(sort, seed, *SIZE)))
    every = [scene_expressions(scene, frames=2) for _, scene in scenes]
    found = []
    for number, (sort, scene) in enumerate(scenes):
        random = np.random.default_rng((scene.seed, 43))
        picture = scene.picture(0.0)
        named = [each for each in every[number] if set(each.kinds) <= KINDS and len(each.labels) == 1]
        chosen = [named[int(index)] for index in random.permutation(len(named))[:expressions]]
        if not chosen:
            continue
        looks = [looks_of(layer) for layer in scene.layers]
        there = {word for each in looks for word in (*each.colours, each.kind)}
        # Of other pictures: those that name a colour and a shape, neither of which this one shows.
        strange = [
            each.text
            for others in every
            for each in others
            if {"colour", "shape"} <= set(each.kinds) <= KINDS and not there & set(each.text.split())
        ]
        absent = [strange[int(index)] for index in random.permutation(len(strange))[: len(chosen)]]
        masks = [(each.text, np.isin(picture.labels, each.labels)) for each in chosen]
        shown = len(np.unique(picture.labels[picture.labels > 0]))
        found.append(WordPicture(f"{sort} {number}", picture.image, tuple(masks), tuple(absent), 1 / max(1, shown)))
    if not found:
        raise SettingsError(f"{count} worlds have no object that looks set apart; give more --worlds")
    return found


def analyze_words(
    backbone: Backbone,
    pictures: Iterable[WordPicture],
    timesteps: Sequence[int],
    readings: Sequence[Reading] = ("A", "B", "C"),
    words: WordSettings | None = None,
    frames: FrameSettings | None = None,
    progress: Progress | None = None,
) -> WordAnalysis:
    """Returns how well every block of a model grounds words, by noise level and reading.

    Args:
        backbone: A model that reads text.
        pictures: With expressions.
        timesteps: Noise levels.
        readings: Which readings; a cross-attention has A and B alone, which are one.
        words: How words become maps, but for the reading.
        frames: At which size the model is shown pictures.
        progress: Notified of every picture.

    Raises:
        SettingsError: if the model cannot read text.
    """
    pictures, words, progress = list(pictures), words or WordSettings(), progress or SilentProgress()
    sites = text_sites(backbone)
    if sites[0].kind == "cross":
        readings = ("B",)
    hits: dict[tuple[str, int, Reading], list[bool]] = {}
    clear: dict[tuple[str, int, Reading], list[tuple[float, bool]]] = {}
    progress.start(f"read words with {backbone.card.name}", total=len(pictures))
    for picture in pictures:
        for timestep in timesteps:
            for reading in readings:
                grounder = Grounder(
                    backbone,
                    picture.image.shape[:2],
                    replace(words, reading=reading, least=0.0),
                    replace(frames or FrameSettings(), timestep=timestep, noising="noise"),
                    sites=sites,
                )
                texts = [text for text, _ in picture.expressions]
                for number, sight in enumerate(grounder.look(picture.image, *texts, *picture.absent)):
                    for site, heat in {ALL: sight.heat, **sight.blocks}.items():
                        key = (site, timestep, reading)
                        shown = number < len(texts)
                        clear.setdefault(key, []).append((contrast(heat), shown))
                        if shown:
                            hits.setdefault(key, []).append(points_into(heat, picture.expressions[number][1]))
        progress.advance(1, sequence=picture.name)
    rows = [WordRow(*key, 100 * float(np.mean(hits[key])), *_presence(clear[key])) for key in hits]
    return WordAnalysis(
        backbone.card.name,
        backbone.fingerprint(),
        tuple(sorted(rows, key=lambda row: -row.accuracy)),
        100 * float(np.mean([picture.chance for picture in pictures for _ in picture.expressions])),
        len(pictures),
        sum(len(picture.expressions) for picture in pictures),
    )


def text_sites(backbone: Backbone) -> tuple[Site, ...]:
    """Returns every attention of a model in which words can be read.

    Raises:
        SettingsError: if it reads no text.
    """
    found = backbone.sites("cross") or backbone.sites("joint")
    if not found:
        raise SettingsError(f"'{backbone.card.name}' compares no text with pictures; choose a model that reads text")
    return tuple(found)


def _presence(contrasts: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Returns the area under the ROC curve, and the contrast with the fewest wrong answers on both sides."""
    values, shown = np.array([value for value, _ in contrasts]), np.array([there for _, there in contrasts])
    if shown.all():
        return float("nan"), 0.0
    area = area_under_roc(values, shown.astype(float))
    steps = np.unique(values)
    balanced = [(values[shown] >= step).mean() + (values[~shown] < step).mean() for step in steps]
    return float(area), float(steps[int(np.argmax(balanced))])
