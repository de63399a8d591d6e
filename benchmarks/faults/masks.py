"""Mask files as ImageMagick, Pillow and paint programs write them: are ids right, or is the option named that reads it?

    python benchmarks/faults/masks.py          # those of Pillow, and those of `convert` if it is there
    python benchmarks/faults/masks.py --list   # also what each became

Three masks are written in every way: a white object, objects 3 and 5 as grey values, and objects 1 and 2 in DAVIS's
colours. A file is right if its ids are those of the mask (in files of colours, numbers of their own), or if one
sentence refuses it and the option that it names reads the mask, to a few pixels where edges are soft. Exits with 1
if one is not.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from undertow.base import MaskError
from undertow.masks import VOID, LabelMap, object_ids, palette, read_label_map

IDS = np.zeros((48, 64), np.uint8)
IDS[6:26, 8:28], IDS[20:42, 36:58] = 3, 5
SHAPE = IDS == 3
COLOURED = (IDS + 1) // 2 - (IDS > 0)
# Pixels that a threshold may move the edges of an object by: one, all around.
EDGE = 90

WHITE = Image.fromarray(SHAPE.astype(np.uint8) * 255)
GREY = Image.fromarray(IDS)
COLOURS = Image.fromarray(palette()[COLOURED])
SOFT = WHITE.filter(ImageFilter.GaussianBlur(1.5))
SOURCES = {"white": (WHITE, SHAPE), "ids": (GREY, IDS), "colours": (COLOURS, COLOURED), "soft": (SOFT, SHAPE)}

# What ImageMagick is asked for: options, and the name of the file.
CONVERT = [
    *("m.png", "PNG8:m.png", "PNG24:m.png", "PNG32:m.png", "PNG48:m.png", "PNG64:m.png", "PNG00:m.png"),
    *("+dither -type Palette m.png", "-type Grayscale m.png", "-type TrueColor m.png", "-type TrueColorAlpha m.png"),
    *("-type GrayscaleAlpha m.png", "-type Bilevel m.png", "-depth 1 m.png", "-depth 4 m.png", "-depth 16 m.png"),
    *("-colors 2 m.png", "+dither -colors 3 m.png", "+dither -colors 16 -type Palette m.png", "-posterize 4 m.png"),
    *("-monochrome m.png", "+dither -colors 2 PNG8:m.png", "-interlace PNG m.png", "-interlace PNG PNG8:m.png"),
    *("-transparent black m.png", "-transparent black PNG8:m.png", "-alpha set m.png", "-alpha copy m.png"),
    *("-background none -alpha shape m.png", "-negate m.png", "-define png:color-type=0 m.png"),
    *("-define png:color-type=3 m.png", "-define png:color-type=4 m.png", "-define png:color-type=6 m.png"),
    *("-define png:color-type=0 -define png:bit-depth=2 m.png", "-define png:color-type=2 m.png", "-strip m.png"),
    *("m.bmp", "BMP2:m.bmp", "BMP3:m.bmp", "+dither -type Palette BMP3:m.bmp", "-type Bilevel m.bmp"),
    *("-compress RLE m.bmp", "-interlace Plane m.png"),
    *("m.tif", "-compress LZW m.tif", "-compress Zip m.tif", "-compress Group4 -monochrome m.tif", "-depth 16 m.tif"),
    *("+dither -type Palette m.tif", "-alpha set m.tif", "-compress JPEG m.tif"),
    *("m.gif", "m.jpg", "-quality 100 m.jpg", "m.webp", "-define webp:lossless=true m.webp", "m.pgm", "m.pbm"),
    *("-resize 200% -resize 50% m.png", "-colorspace RGB m.png", "-normalize m.png", "-auto-level PNG8:m.png"),
]  # fmt: skip


def indexed(values: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    """Returns a picture of indices into a few colours."""
    image = Image.fromarray(values.astype(np.uint8))
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def with_alpha(image: Image.Image, alpha: np.ndarray) -> Image.Image:
    """Returns a picture that is transparent in parts."""
    image = image.convert("RGBA")
    image.putalpha(Image.fromarray(alpha.astype(np.uint8) * 255))
    return image


def by_pillow() -> Iterator[tuple[str, str, Callable[[Path], Path]]]:
    """Yields the kind of mask, the name and the writer of files as Pillow and paint programs make them."""

    def file(image: Image.Image, name: str = "m.png", **options: object) -> Callable[[Path], Path]:
        def write(folder: Path) -> Path:
            image.save(folder / name, **options)
            return folder / name

        return write

    for kind, (image, _) in SOURCES.items():
        colour = image.convert("RGB")
        for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
            # Pillow dithers what it turns into its web palette or one bit, which leaves nothing of ids and soft edges.
            if (mode == "1" and kind != "white") or (mode in ("P", "PA") and kind == "colours"):
                continue
            made = image.convert(mode)
            yield kind, f"convert {mode}", file(made, "m.tif" if mode in ("CMYK", "YCbCr", "PA") else "m.png")
        if kind != "colours":
            deep = np.asarray(image).astype(np.uint16) * (1 if kind == "ids" else 257)
            yield kind, "16 bits", file(Image.fromarray(deep))
            yield kind, "16 bits TIFF", file(Image.fromarray(deep), "m.tif")
        for method in Image.Quantize:
            # Of the octree's colours the ids are one.
            if method != Image.Quantize.LIBIMAGEQUANT and (kind, method.name) != ("ids", "FASTOCTREE"):
                yield kind, f"quantize {method.name}", file(colour.quantize(8, method=method, dither=0))
        for shades in (3, 256) if kind in ("ids", "colours") else (2, 3, 256):
            adaptive = colour.convert("P", palette=Image.Palette.ADAPTIVE, colors=shades, dither=0)
            yield kind, f"adaptive {shades}", file(adaptive)
        if kind != "ids":
            yield kind, "web palette", file(colour.convert("P", palette=Image.Palette.WEB, dither=0))
        yield kind, "optimised", file(colour.quantize(8), optimize=True)
        yield kind, "4 bits", file(colour.quantize(8), bits=4)
        for name in ("m.bmp", "m.gif", "m.tif", "m.jpg", "m.webp", "m.tga", "m.ppm", "m.jp2"):
            yield kind, f"saved as {name}", file(colour, name)
        yield kind, "lossless webp", file(colour, "m.webp", lossless=True)
        yield kind, "transparent colour", file(image, transparency=0 if image.mode == "L" else (0, 0, 0))
        few = colour.quantize(8)
        darkest = int(np.array(few.getpalette()).reshape(-1, 3).sum(1).argmin())
        yield kind, "transparent index", file(few, transparency=darkest)
        yield kind, "transparent background", file(with_alpha(image, SOURCES[kind][1] > 0))
    shape = SHAPE.astype(np.uint8)
    for name, first, second in (
        ("black, white", (0, 0, 0), (255, 255, 255)), ("black, red", (0, 0, 0), (255, 0, 0)),
        ("grey, white", (128, 128, 128), (255, 255, 255)), ("nearly black, white", (1, 1, 1), (254, 254, 254)),
    ):  # fmt: skip
        yield "white", f"index 0 is {name}", file(indexed(shape, first, second))
        yield "white", f"index 1 is {name}", file(indexed(1 - shape, second, first))
    greys = [(each, each, each) for each in (0, 3, 5)]
    yield "ids", "indices into greys of the ids", file(indexed(COLOURED, *greys))
    yield "ids", "indices into greys, last first", file(indexed(2 - COLOURED, *greys[::-1]))
    shuffled = palette()[[0, 2, 1]]
    yield "colours", "indices into DAVIS's colours, out of order", file(indexed((3 - COLOURED) % 3, *shuffled))
    yield "colours", "indices into bright greys", file(indexed(COLOURED, *[(n, n, n) for n in (0, 127, 254)]))
    yield "colours", "background last", file(indexed((COLOURED + 2) % 3, *palette()[[1, 2, 0]]))
    yield (
        "colours",
        "white background",
        file(Image.fromarray(np.r_[[[255] * 3], palette()[1:3]][COLOURED].astype("u1"))),
    )
    yield "white", "white in alpha alone", file(with_alpha(Image.new("RGB", WHITE.size), SHAPE))


def has_convert() -> bool:
    """Returns whether ImageMagick's `convert` is installed; other programs have that name too."""
    if shutil.which("convert") is None:
        return False
    said = subprocess.run(["convert", "-version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return said.stdout.startswith("Version: ImageMagick")


def by_convert() -> Iterator[tuple[str, str, Callable[[Path], Path]]]:
    """Yields the kind of mask, the name and the writer of files as ImageMagick makes them."""

    def file(kind: str, words: list[str]) -> Callable[[Path], Path]:
        def write(folder: Path) -> Path:
            SOURCES[kind][0].save(folder / "source.png")
            path = folder / words[-1].rpartition(":")[2]
            target = f"{words[-1].removesuffix(path.name)}{path}"
            subprocess.run(["convert", folder / "source.png", *words[:-1], target], check=True, capture_output=True)
            return path

        return write

    for kind in SOURCES:
        for line in CONVERT:
            # Such files have lost the ids, or swapped object and background, before they are read.
            lost = {
                "-negate m.png": ("white", "ids", "colours", "soft"),
                "-colors 2": ("ids", "colours"),
                "-monochrome": ("ids", "colours", "soft"),
                "Bilevel": ("ids", "colours", "soft"),
                "-depth 1 ": ("ids", "colours", "soft"),
                "-depth 4": ("ids",),
                "bit-depth=2": ("ids", "colours"),
                "-posterize": ("ids", "colours"),
                "m.pbm": ("ids", "colours", "soft"),
                "-normalize": ("ids", "colours"),
                "-auto-level": ("ids", "colours"),
                "-colorspace": ("ids", "colours", "soft"),
                "Grayscale": ("colours",),
                "color-type=0": ("colours",),
                "color-type=4": ("colours",),
                "m.pgm": ("colours",),
                "-alpha": ("ids", "colours"),
                "-transparent": ("soft",),
            }
            if not any(part in line and kind in kinds for part, kinds in lost.items()):
                yield kind, f"convert {line}", file(kind, line.split())


def matches(labels: LabelMap, kind: str, exact: bool) -> bool:
    """Returns whether a map has the objects of a mask; without `exact`, numbers may be others and edges soft."""
    truth = SOURCES[kind][1].astype(int)
    if labels.shape != truth.shape:
        return False
    found = np.where(labels == VOID, 0, labels)
    if exact:
        return bool((found == truth).all())
    ids = object_ids(labels)
    if len(ids) != truth.max(initial=0) - (kind == "ids") * 3 and kind != "ids":
        return False
    pairs = Counter(zip(truth.reshape(-1).tolist(), found.reshape(-1).tolist(), strict=True))
    best = {old: max((count, new) for (other, new), count in pairs.items() if other == old)[1] for old in {*truth.flat}}
    astray = int((np.vectorize(best.__getitem__)(truth) != found).sum())
    return best[0] == 0 and len(set(best.values())) == len(best) and astray <= EDGE


def outcome(path: Path, kind: str) -> tuple[bool, str]:
    """Returns whether a file is read or refused as it should be, and what came."""
    try:
        labels = read_label_map(path)
        # Programs make 16 bits of 8 by this factor.
        labels = labels // 257 if (labels % 257 == 0).all() else labels
        return matches(labels, kind, exact=kind in ("white", "ids")), f"objects {object_ids(labels)}"
    except MaskError as error:
        said = str(error)
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
    options: dict[str, dict[str, object]] = {
        "--mask-threshold": {"threshold": int((re.findall(r"--mask-threshold (\d+)", said) or [128])[0])},
        "--mask-colors": {"mask_colors": True},
    }
    # Of several objects in a file that does not keep ids, no option makes them again.
    if kind in ("ids", "colours") and any(word in said for word in ("may alter ids", "pixels of type", "soft edges")):
        return "\n" not in said, "refused: save it again"
    named = [name for name in options if name in said]
    for name in named:
        try:
            labels = read_label_map(path, **options[name])  # type: ignore[arg-type]
        except MaskError as error:
            said += f" | with {name}: {error}"
            continue
        single = SOURCES[kind][1] > 0
        if matches(labels, kind, exact=False) or (
            labels.shape == single.shape and ((labels > 0) != single).sum() <= EDGE
        ):
            return "\n" not in said, f"refused, read with {name}"
    return False, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true")
    asked = parser.parse_args()
    files = [*by_pillow(), *(by_convert() if has_convert() else ())]
    ends, wrong = Counter[str](), 0
    warnings.simplefilter("ignore")
    for kind, name, write in files:
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = write(Path(folder))
            except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
                if asked.list:
                    print(f"{kind}: {name}: cannot be made ({str(error)[:60]})")
                continue
            right, what = outcome(path, kind)
        ends["wrong" if not right else "read" if what.startswith("objects") else "refused"] += 1
        wrong += not right
        if asked.list or not right:
            print(f"{kind}: {name}: {what.replace(folder + '/', '')}{'' if right else '  WRONG'}", flush=True)
    print(f"masks: {sum(ends.values())} files: {', '.join(f'{n} {end}' for end, n in ends.items())}")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
