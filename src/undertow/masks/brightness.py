"""How bright the pixels of a picture are, for masks by a threshold: any format, mattes of floats among them."""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from undertow.base import MaskError
from undertow.masks.labels import MOST_PIXELS, check_size, listed


def brightness(path: Path, size: tuple[int, int] | None) -> UInt8[np.ndarray, "h w"]:
    """Returns how bright each pixel of an image of any kind is; what is transparent is dark."""
    source = f"mask '{path}'"
    check_file(path, source)
    if path.suffix.lower() == ".exr":
        values = _exr_matte(path, source)
        check_size(values.shape, size, source)
        return _bytes_of(values)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            check_size((image.height, image.width), size, source)
            if image.width * image.height > MOST_PIXELS:
                raise MaskError(f"{source} is {image.width}x{image.height}; give at most {MOST_PIXELS} pixels")
            if image.mode.startswith("I;16"):
                return (np.asarray(image) >> 8).astype(np.uint8)
            if image.mode == "F":
                return _bytes_of(np.asarray(image))
            values = np.asarray(image.convert("RGBA"))
            grey = np.asarray(image.convert("RGB").convert("L"))
    except (MaskError, MemoryError):
        raise
    except Exception as error:
        raise MaskError(f"{source} cannot be read ({reason(error)}); save it again as PNG") from error
    # A mask may lie in the transparency alone, over one colour.
    if ((opaque := values[..., 3]) != 255).any():
        return opaque if (grey == grey.flat[0]).all() else (grey * (opaque / 255)).astype(np.uint8)
    return grey


def _bytes_of(values: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Returns shares from 0 to 1 in 256 levels; what is no number is 0."""
    return np.round(np.clip(np.nan_to_num(values.astype(np.float32), posinf=1.0), 0, 1) * 255).astype(np.uint8)


def _exr_matte(path: Path, source: str) -> Float[np.ndarray, "h w"]:
    """Returns the alpha of an OpenEXR file, or its only layer or brightness if it has none.

    Raises:
        MaskError: if it cannot be read, or has several layers of alpha.
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
    if len(layers) > 1 and "A" not in channels:
        raise MaskError(f"{source} has {len(layers)} layers of alpha ({listed(layers, 4)}); save the one that is meant")
    wanted = next((each for each in ("A", *layers, "Y", "R") if each in channels), next(iter(channels)))
    matte: Float[np.ndarray, "h w"] = channels[wanted]
    return matte


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
