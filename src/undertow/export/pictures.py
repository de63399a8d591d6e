"""Mattes as sequences of pictures, PNG or TIFF, and as films with alpha: ProRes 4444, FFV1, APNG, VP9."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from undertow.base import atomic_path
from undertow.export.exporter import Exporter, Plan, Shot
from undertow.export.mattes import bytes_of, rgba
from undertow.export.run import OF_OBJECTS

# In place of an object's id.
TOGETHER = -1


class Mattes(Exporter):
    """What formats of mattes share: one per object, or one of all together if the template has no object."""

    tasks: ClassVar[tuple[str, ...]] = (*OF_OBJECTS, "parse")
    suffix: ClassVar[str]

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.ids = list(plan.names) if plan.per_object else [TOGETHER]

    def alpha(self, shot: Shot, number: int) -> np.ndarray:
        """Returns the alpha of an object on a frame, or of all together."""
        if number != TOGETHER:
            return shot.mattes.get(number, np.zeros(self.plan.size, np.float32))
        together = sum(shot.mattes.values(), np.zeros(self.plan.size, np.float32))
        return np.minimum(together, 1.0)

    def drawn(self, shot: Shot, number: int) -> UInt8[np.ndarray, "h w 4"]:
        """Returns the picture with the matte of an object as alpha, filled as the settings say."""
        fill = self.plan.settings.fill
        image = None if fill == "matte" else shot.image
        return rgba(self.alpha(shot, number), image, premultiplied=fill == "premultiplied")

    def expected(self, shot: Shot) -> Mapping[int, np.ndarray]:
        """Returns the alpha that should be read back, in 256 levels."""
        return {number: bytes_of(self.alpha(shot, number)) for number in self.ids}


class Png(Mattes):
    """A PNG per object and frame: the matte in grey, or the picture with it as alpha."""

    template, suffix = "{label}/{clip}_{label}_{frame:05d}", ".png"

    def done(self, shot: Shot) -> bool:
        """Returns whether all files of a frame are there."""
        return all(self.plan.file(self.suffix, shot, number).exists() for number in self.ids)

    def frame(self, shot: Shot) -> None:
        """Writes the objects of a frame."""
        for number in self.ids:
            if self.plan.settings.fill == "matte":
                image = Image.fromarray(bytes_of(self.alpha(shot, number)))
            else:
                image = Image.fromarray(self.drawn(shot, number), "RGBA")
            with atomic_path(self.plan.file(self.suffix, shot, number)) as temporary:
                image.save(temporary)

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the alpha in the files."""
        for shot in self.plan.shots():
            found = {}
            for number in self.ids:
                with Image.open(self.plan.file(self.suffix, shot, number)) as image:
                    found[number] = np.asarray(image if image.mode == "L" else image.getchannel("A"))
            yield found


class Tiff(Png):
    """A TIFF per object and frame, like PNG."""

    suffix = ".tif"


class ProRes(Mattes):
    """A QuickTime film per object: ProRes 4444 with 16 bits of alpha, at most one level of 255 off."""

    template, fields, suffix = "{clip}_{label}", (), ".mov"
    rated = True
    codec: ClassVar[str] = "prores"

    def open(self) -> None:
        """Begins a film for each object."""
        from undertow.video.container import AlphaFile

        super().open()
        height, width = self.plan.size
        self._films = {}
        for number in self.ids:
            temporary = self.stack.enter_context(atomic_path(self.plan.file(self.suffix, number=number)))
            film = AlphaFile(temporary, self.codec, width, height, self.plan.fps)
            self.stack.push(lambda kind, error, trace, film=film: film.close(finish=kind is None))
            self._films[number] = film

    def frame(self, shot: Shot) -> None:
        """Adds a frame to each film."""
        for number, film in self._films.items():
            film.write(self.drawn(shot, number))

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields the alpha in the films."""
        from undertow.video.container import read_alpha

        films = {number: read_alpha(self.plan.file(self.suffix, number=number), self.codec) for number in self.ids}
        for shot in self.plan.shots():
            del shot
            yield {number: next(film) for number, film in films.items()}


class Ffv1(ProRes):
    """A Matroska film per object: FFV1, exact."""

    suffix, codec = ".mkv", "ffv1"


class Apng(ProRes):
    """An animated PNG per object, exact, which browsers show."""

    suffix, codec = ".apng", "apng"


class Vp9(ProRes):
    """A WebM film per object: small and lossy, for browsers."""

    suffix, codec = ".webm", "vp9"
    note = "browsers show the alpha of VP9, but most editing programs drop it without a word; give them prores or ffv1"
