"""The referring datasets that undertow reads, as what a generator is trained on: clips, images, and clips of images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from undertow.backbones.reading.sizes import resize
from undertow.base import SettingsError, UndertowError
from undertow.benchmarks.core.datasets import get_dataset, open_dataset
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.refer.sample import ReferSample
from undertow.masks.labels import resize_nearest
from undertow.training.rem.data import Item, Source
from undertow.training.rem.pseudo import pseudo_clip
from undertow.training.rem.settings import RemSettings
from undertow.training.rem.worlds import FIRST_REM_SEED, Calm, World
from undertow.world import FIRST_VALIDATION_SEED
from undertow.world.photographs import list_photographs

# Where seeds of procedural clips that are looked at during training begin, among those that are held out.
VALIDATION = 300_000_000
# What is drawn, and whether photographs can be behind it.
DRAWN = {"world": False, "calm": True, "calm-clips": True}


@dataclass(frozen=True)
class Expressions:
    """A referring dataset as a `Source`: an item is a video, or an image, with all that is said of it.

    Attributes:
        name: Of the source.
        groups: Samples of one video or image each.
        frames: Frames of a clip; drawn from the annotated ones without repetition and put in order.
        size: (height, width) that frames are stretched to.
        draws: How many draws of a clip's frames there are.
    """

    name: str
    groups: tuple[tuple[ReferSample, ...], ...]
    frames: int
    size: tuple[int, int]
    draws: int = 4

    @property
    def clips(self) -> bool:
        """Whether these are videos."""
        return not self.groups[0][0].image

    def __len__(self) -> int:
        """Returns the number of videos or images."""
        return len(self.groups)

    def item(self, number: int, draw: int) -> Item:
        """Returns a video with its expressions.

        Raises:
            UndertowError: if a frame or an annotation cannot be read.
        """
        samples = self.groups[number]
        shared = sorted(set.intersection(*(set(sample.annotated) for sample in samples)))
        chosen = _drawn(shared, self.frames if self.clips else 1, np.random.default_rng((number, draw, 41)))
        with samples[0].open() as video:
            images = np.stack([frame.image for frame in video.frames(sorted(set(chosen)))])
        places = [sorted(set(chosen)).index(frame) for frame in chosen]
        texts, masks = [], []
        for sample in samples:
            truth = {frame: sample.load(frame)[0] for frame in set(chosen)}
            for index, text in enumerate(sample.texts):
                texts.append(" ".join(text.lower().split()) if self.clips else text)
                small = [resize_nearest(truth[frame][index].astype(np.uint16), self.size) > 0 for frame in chosen]
                masks.append(np.stack(small))
        return Item(resize(images, self.size)[places], tuple(texts), np.stack(masks), (True,) * len(texts))

    def problems(self) -> Iterator[str]:
        """Yields frames and annotations that cannot be read, and expressions whose masks are empty everywhere."""
        for samples in self.groups:
            for sample in samples:
                try:
                    found = list(get_task("refer").check(sample))
                except UndertowError as error:
                    yield str(error)
                    continue
                yield from (each.problem for each in found)


@dataclass(frozen=True)
class PseudoClips:
    """Clips made of the images of a source, as a `Source`.

    Attributes:
        images: The source.
        count: Number of clips; images are drawn once.
        frames: Frames of a clip.
    """

    images: Source
    count: int
    frames: int
    clips: bool = True
    draws: int = 1

    @property
    def name(self) -> str:
        """Of the source."""
        return f"{self.images.name}-pseudo"

    def __len__(self) -> int:
        """Returns the number of clips."""
        return min(self.count, len(self.images))

    def item(self, number: int, draw: int) -> Item:
        """Returns a clip."""
        chosen = np.random.default_rng(43).permutation(len(self.images))[number]
        return pseudo_clip(self.images.item(int(chosen), 0), self.frames, np.random.default_rng((number, draw, 47)))

    def problems(self) -> Iterator[str]:
        """Yields nothing: the images are looked through as what they are."""
        return iter(())


def read_sources(data: Sequence[str], settings: RemSettings, pseudo: int = 0, *, training: bool = True) -> list[Source]:
    """Returns the sources that are typed as NAME:FOLDER, NAME:FOLDER@SPLIT, or one of `DRAWN`.

    Those are typed world:COUNT, calm:COUNT[:PHOTOGRAPHS] and calm-clips:COUNT[:PHOTOGRAPHS].


    Without a split it is the dataset's "train", if there is one and they are for training, and else its usual one.

    Args:
        data: As typed.
        settings: Of the training.
        pseudo: How many clips are made of the images of each dataset of images.
        training: Whether they are to be learned from; procedural clips are others if not.

    Raises:
        SettingsError: if one is typed otherwise, is unknown, or is no referring dataset.
    """
    sources: list[Source] = []
    size = (settings.size[1], settings.size[0])
    for typed in data:
        name, _, rest = typed.partition(":")
        if name in DRAWN:
            sources.append(_drawn_source(typed, settings, training))
            continue
        folder, _, split = rest.rpartition("@") if "@" in Path(rest).name else (rest, "", "")
        if not folder:
            raise SettingsError(f"--data is '{typed}'; give NAME:FOLDER, such as refcoco:data/coco, or world:2000")
        dataset = get_dataset(name)
        split = split or ("train" if training and "train" in dataset.splits else "")
        if dataset.task != "refer":
            raise SettingsError(f"dataset '{name}' has no expressions; give one such as refcoco or ref-youtube-vos")
        found = [each for each in open_dataset(name, folder, split or None) if isinstance(each, ReferSample)]
        groups = tuple(tuple(group) for _, group in groupby(found, lambda sample: (sample.video, sample.frames)))
        if not groups:
            raise SettingsError(f"--data '{typed}' has no expressions; check the folder")
        own = Expressions(name, groups, settings.frames, size)
        sources.append(own)
        if pseudo and not own.clips:
            sources.append(PseudoClips(own, pseudo, settings.frames))
    return sources


def _drawn_source(typed: str, settings: RemSettings, training: bool) -> Source:
    """Returns procedural clips or pictures, of which calm ones may be in front of the photographs of a folder."""
    name, count, folder = [*typed.split(":", 2), ""][:3]
    if not count.isdecimal() or not 0 < int(count) <= 10**7 or (folder and not DRAWN[name]):
        raise SettingsError(
            f"--data is '{typed}'; give world:COUNT, such as world:2000, calm:COUNT[:PHOTOGRAPHS] or "
            "calm-clips:COUNT[:PHOTOGRAPHS]"
        )
    first = FIRST_REM_SEED if training else FIRST_VALIDATION_SEED + VALIDATION
    size = (settings.size[1], settings.size[0])
    # Those that are held out are for validation.
    photographs = [each for each in list_photographs(Path(folder)) if each.held_out != training] if folder else []
    behind = tuple(each.path for each in photographs)
    if name == "calm":
        return Calm(int(count), size, behind, first + 10**7)
    world = World(int(count), settings.frames, size, first, spacing=settings.spacing)
    if name == "world":
        return world
    return replace(world, first=first + 2 * 10**7, families=("calm",), photographs=behind, name=name)


def _drawn(possible: Sequence[int], count: int, random: np.random.Generator) -> list[int]:
    """Returns so many of the numbers in order, each once if there are enough, else each about equally often."""
    if not possible:
        raise SettingsError("a video has no annotated frame; `undertow bench check` says which")
    whole, rest = divmod(count, len(possible))
    return sorted([*(list(possible) * whole), *random.choice(possible, rest, replace=False).tolist()])
