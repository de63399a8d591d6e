"""Picture files as paint and compositing programs write them: what their pixels hold, and how bright they are."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from undertow.base import MaskError
from undertow.masks.colours import davis_colours, labels_from_colours, palette
from undertow.masks.labels import MOST_PIXELS, SMALL_ID, check_size, listed, soft_values

LOSSLESS = ("PNG", "BMP", "TIFF")
# Of the ways of packing a TIFF.
LOSSY = ("jpeg", "tiff_jpeg", "webp")
Kind = Literal["index", "ids", "grey", "grey3", "bits", "colour"]
# Below this, a colour is as good as black.
DARK = 32


@contextmanager
def opened(path: Path, size: tuple[int, int] | None, source: str) -> Iterator[Image.Image]:
    """Opens a picture whose header says that it may be a mask, before anything of its size is in memory.

    Args:
        path: The file.
        size: (height, width) that it must have, `None` if any will do.
        source: What errors call it.

    Raises:
        MaskError: if the file is missing, no image, of another size or too large, or if it breaks off while it is read.
    """
    check_file(path, source)
    try:
        # Pillow warns of odd metadata and of large images; neither says anything about the ids.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            check_size((image.height, image.width), size, source)
            if image.width * image.height > MOST_PIXELS:
                raise MaskError(f"{source} is {image.width}x{image.height}; give at most {MOST_PIXELS} pixels")
            yield image
    except (MaskError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise MaskError(f"{source} is not an image; give a PNG file") from error
    # Whatever a broken file makes Pillow's decoders stumble over: they raise a dozen kinds of errors.
    except Exception as error:
        raise MaskError(f"{source} cannot be read ({reason(error)}); save it again as PNG") from error


def read_pixels(
    path: Path, size: tuple[int, int] | None = None, *, written: bool = False
) -> tuple[Shaped[np.ndarray, "h w ..."], Kind]:
    """Returns a file's raw values and what they are: palette indices, grey, one bit, or colours (h, w, 3).

    Args:
        path: A PNG, BMP or TIFF file.
        size: (height, width) that it must have, `None` if any will do.
        written: Whether a palette was written as one, so that its indices count whatever its colours are.

    Raises:
        MaskError: naming the file and what is wrong with it.
    """
    source = f"mask '{path}'"
    if path.suffix.lower() == ".exr" and path.is_file():
        raise MaskError(f"{source} is OpenEXR, which has no ids; save the mask as PNG{_hint(written)}")
    with opened(path, size, source) as image:
        if image.format not in LOSSLESS or image.info.get("compression") in LOSSY:
            raise MaskError(f"{source} is {image.format}, which may alter ids; save the mask as PNG{_hint(written)}")
        if getattr(image, "is_animated", False):
            raise MaskError(f"{source} holds several pictures; save the one you mean as a PNG of its own")
        return image_values(image, source, written=written)


def image_values(
    image: Image.Image, source: str, *, written: bool = False
) -> tuple[Shaped[np.ndarray, "h w ..."], Kind]:
    """Returns an image's values and what they are; of a palette that was `written` as one, always indices."""
    mode, values = image.mode, np.asarray(image)
    if mode == "P":
        return (values, "index") if written else _by_palette(values, image, source)
    if mode in ("LA", "RGBA"):
        clear, opaque = values[..., -1] == 0, values[..., -1] == 255
        # What is transparent is background; black or half transparent paint looks the same.
        if not (opaque if written else clear | opaque).all() or (clear.any() and not values[opaque][:, :-1].any()):
            raise MaskError(f"{source} has transparent pixels; save it without an alpha channel{_hint(written)}")
        mode, values = ("L", values[..., 0]) if mode == "LA" else ("RGB", values[..., :3])
        values = np.where(clear if mode == "L" else clear[..., None], 0, values).astype(np.uint8)
    if mode == "1":
        return values, "bits"
    if mode == "L" or mode.startswith("I;16"):
        return values.astype(np.uint8 if mode == "L" else np.uint16), "grey"
    if mode == "RGB":
        if (values == values[..., :1]).all():
            return values[..., 0], "grey3"
        return values, "colour"
    raise MaskError(f"{source} has pixels of type {mode}; save a palette PNG, or grey of 8 or 16 bits{_hint(written)}")


def _by_palette(
    indices: UInt8[np.ndarray, "h w"], image: Image.Image, source: str
) -> tuple[UInt8[np.ndarray, "h w ..."], Kind]:
    """Returns what the pixels of an indexed picture stand for: their indices, unless the palette says otherwise.

    Programs that save few colours or greys as a palette number them as they like, so a palette of nothing but greys, or
    of DAVIS's colours at other places, counts as the picture that it shows; and so does one in which black, the
    background, is not in front.
    """
    colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    used = np.unique(indices)
    if used[-1] >= len(colours):
        return indices, "index"
    shown = colours[used]
    if (shown == palette()[used]).all() or len(np.unique(shown, axis=0)) < used.size:
        return indices, "index"
    painted = colours[indices]
    if (colours == colours[:, :1]).all() or (
        used[-1] >= SMALL_ID and np.isin(shown, (0, 255)).all() and used.size == 2
    ):
        return painted[..., 0], "grey"
    table = davis_colours()
    if all(tuple(colour) in table for colour in colours.tolist()):
        return labels_from_colours(painted, table, source), "ids"
    if colours[0].max() >= DARK and (shown[used > 0].max(-1) < DARK).any():
        return painted, "colour"
    between = np.asarray((painted > 0).any(-1) & (painted < 255).any(-1))
    if soft_values(indices, painted, between).size:
        raise MaskError(
            f"{source} has soft edges: many of its colours lie between others; export it without anti-aliasing, or "
            "pass --mask-threshold 128, or --soft to keep soft edges"
        )
    return indices, "index"


def _hint(classes: bool) -> str:
    """Returns what else helps with a mask that is not one of classes."""
    return "" if classes else ", or pass --mask-threshold 128 or --soft if it shows one object"


def brightness(path: Path, size: tuple[int, int] | None) -> UInt8[np.ndarray, "h w"]:
    """Returns how bright each pixel of an image of any format is; what is transparent is dark.

    Raises:
        MaskError: naming the file and what is wrong with it.
    """
    mattes, source = mattes_in(path, size), f"mask '{path}'"
    if len(mattes) > 1:
        layers = listed(list(mattes), 4)
        raise MaskError(
            f"{source} has {len(mattes)} layers of alpha ({layers}); save the one that is meant, or pass --soft"
        )
    return next(iter(mattes.values()))


def mattes_in(path: Path, size: tuple[int, int] | None) -> dict[str, UInt8[np.ndarray, "h w"]]:
    """Returns how bright a picture is under its name, or each layer of alpha of an OpenEXR file under the layer's.

    Raises:
        MaskError: naming the file and what is wrong with it.
    """
    source = f"mask '{path}'"
    if path.suffix.lower() != ".exr":
        return {path.stem: _brightness(path, size, source)}
    check_file(path, source)
    found = _exr_mattes(path, source)
    for values in found.values():
        check_size(values.shape, size, source)
    return {name: _bytes_of(values) for name, values in found.items()}


def _brightness(path: Path, size: tuple[int, int] | None, source: str) -> UInt8[np.ndarray, "h w"]:
    with opened(path, size, source) as image:
        if image.mode.startswith("I;16"):
            return (np.asarray(image) >> 8).astype(np.uint8)
        if image.mode == "F":
            return _bytes_of(np.asarray(image))
        values = np.asarray(image.convert("RGBA"))
        grey = np.asarray(image.convert("RGB").convert("L"))
    # A mask may lie in the transparency alone, over one colour.
    if ((opaque := values[..., 3]) != 255).any():
        return opaque if (grey == grey.flat[0]).all() else (grey * (opaque / 255)).astype(np.uint8)
    return grey


def _bytes_of(values: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Returns shares from 0 to 1 in 256 levels; what is no number is 0."""
    return np.round(np.clip(np.nan_to_num(values.astype(np.float32), posinf=1.0), 0, 1) * 255).astype(np.uint8)


def _exr_mattes(path: Path, source: str) -> dict[str, Float[np.ndarray, "h w"]]:
    """Returns the alpha of an OpenEXR file, or all layers that have alpha, or its brightness if it has none.

    Raises:
        MaskError: if it cannot be read.
    """
    try:
        import OpenEXR
    except ImportError as error:
        raise MaskError(f'{source} is OpenEXR; pip install "undertow[export]", or save it as PNG') from error
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: np.array(each.pixels, np.float32) for name, each in file.channels().items()}
    except Exception as error:
        raise MaskError(f"{source} cannot be read ({reason(error)}); save it again as PNG") from error
    layers = sorted(name for name in channels if name.endswith(".A") and not name.startswith("Crypto"))
    if layers and "A" not in channels:
        return {name.removesuffix(".A"): channels[name] for name in layers}
    wanted = next((each for each in ("A", "Y", "R") if each in channels), next(iter(channels)))
    return {path.stem: channels[wanted]}


def check_file(path: Path, source: str) -> None:
    """Raises `MaskError` unless a path leads to a file: opening a pipe would wait for ever, a device never end."""
    try:
        if path.is_dir():
            raise MaskError(f"{source} is a folder; give one file, several with --mask FILE each")
        if not path.exists():
            raise MaskError(f"{source} does not exist; check the path")
        if not path.is_file():
            raise MaskError(f"{source} is neither a file nor a folder; give a PNG file")
    except (OSError, ValueError) as error:
        raise MaskError(f"{source} cannot be looked up ({reason(error)}); check the path") from error


def reason(error: Exception) -> str:
    """Returns what an error says, without numbers of the system and without the path that is named already."""
    words = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
    return words.strip().rstrip(".") or type(error).__name__
