"""Masks that are none, or do not fit their video."""

import shutil

import numpy as np
from PIL import Image

from undertow.masks import VOID

from .kitchen import HEIGHT, WIDTH, Case, Kitchen, labels, picture
from .video_cases import directory, pipe, png


def soft() -> np.ndarray:
    """A mask enlarged with interpolation."""
    small = Image.fromarray(((labels()[::4, ::4] == 1) * 255).astype(np.uint8))
    return np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))


def colours(count: int) -> np.ndarray:
    """So many flat colours."""
    index = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * count // (HEIGHT * WIDTH)
    return np.stack([index * 37 & 255, index * 91 >> 3 & 255, index * 53 & 255], -1).astype(np.uint8)


def half_clear() -> np.ndarray:
    """A grey mask with half transparent pixels."""
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:5] = 99
    return np.stack([labels().astype(np.uint8), alpha], -1)


def cut(kitchen: Kitchen) -> object:
    data = kitchen.image("whole.png", np.random.default_rng(0).integers(0, 9, (HEIGHT, WIDTH)).astype(np.uint8))
    return kitchen.at("cut.png", data.read_bytes()[:-200])


def spoilt_checksum(kitchen: Kitchen) -> object:
    data = bytearray(kitchen.mask.read_bytes())
    place = data.index(b"PLTE") + 6
    data[place] ^= 255
    return kitchen.at("checksum.png", bytes(data))


def animated(kitchen: Kitchen) -> object:
    first, second = (Image.fromarray(labels().astype(np.uint8) * scale) for scale in (1, 2))
    first.save(kitchen.folder / "moving.png", save_all=True, append_images=[second])
    return kitchen.folder / "moving.png"


def pages(kitchen: Kitchen) -> object:
    first, second = (Image.fromarray(labels().astype(np.uint8) * scale) for scale in (1, 2))
    first.save(kitchen.folder / "pages.tif", save_all=True, append_images=[second])
    return kitchen.folder / "pages.tif"


def two_overlapping(kitchen: Kitchen) -> list[object]:
    one, two = ((labels() == 1) * 255).astype(np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    two[20:40, 10:40] = 255
    first, second = kitchen.image("thing-1.png", one), kitchen.image("thing-2.png", two)
    return kitchen.track("--mask", second, mask=first)


def one_void_of_two(kitchen: Kitchen) -> list[object]:
    white = kitchen.image("thing-1.png", ((labels() == 1) * 255).astype(np.uint8))
    return kitchen.track("--mask", kitchen.image("thing-2.png", np.zeros((HEIGHT, WIDTH), np.uint8)), mask=white)


def video_as_mask(kitchen: Kitchen) -> list[object]:
    shutil.copy(kitchen.clip, kitchen.folder / "mask.png")
    return kitchen.track(mask=kitchen.folder / "mask.png")


def floats(last: float) -> np.ndarray:
    values = labels().astype(np.float32)
    values[-1, -1] = last
    return values


def grey(kitchen: Kitchen, name: str, values: np.ndarray, mode: str | None = None, **options: object) -> list[object]:
    """A good command but for this mask."""
    return kitchen.track(mask=kitchen.image(name, values, mode, **options))


CASES = [
    Case("no mask", lambda k: ["track", k.clip, "--out", k.out], "--mask"),
    Case("the mask does not exist", lambda k: k.track(mask=k.folder / "no.png"), "'<tmp>/no.png'"),
    Case("the mask has 0 bytes", lambda k: k.track(mask=k.at("zero.png")), "zero.png'"),
    Case("a folder as mask", lambda k: k.track(mask=directory(k, "masks")), "masks'"),
    Case("a text named .png", lambda k: k.track(mask=k.at("text.png", "no image")), "text.png' is not an image"),
    Case("a video as mask", video_as_mask, "mask.png' is not an image"),
    Case("a pipe as mask", lambda k: k.track(mask=pipe(k)), "nothing.png'"),
    Case("a device as mask", lambda k: k.track(mask="/dev/zero"), "'/dev/zero'"),
    Case("a mask cut off", lambda k: k.track(mask=cut(k)), "cut.png' cannot be read"),
    Case("a wrong checksum", lambda k: k.track(mask=spoilt_checksum(k)), "checksum.png' is not an image"),
    Case("a PNG that claims 60000x60000", lambda k: k.track(mask=k.at("bomb.png", png(60000, 60000))), "bomb.png'"),
    Case("a PNG that claims 13000x13000", lambda k: k.track(mask=k.at("big.png", png(13000, 13000))), "big.png'"),
    Case("another size", lambda k: grey(k, "half.png", labels()[::2, ::2].astype(np.uint8)), "is 32x24 but the video"),
    Case("turned by 90 degrees", lambda k: grey(k, "turned.png", labels().T.astype(np.uint8)), "is 48x64 but the"),
    Case("soft edges", lambda k: grey(k, "soft.png", soft()), "soft.png' has soft edges"),
    Case("a picture as mask", lambda k: grey(k, "photo.png", picture(0)), "pass --mask-colors"),
    Case("RGB-coded, without --mask-colors", lambda k: grey(k, "rgb.png", colours(3)), "pass --mask-colors"),
    Case("--mask-colors on a palette", lambda k: k.track("--mask-colors"), "leave --mask-colors out"),
    Case(
        "--mask-colors on 1000 colours",
        lambda k: k.track("--mask-colors", mask=k.image("photo.png", colours(1000))),
        "soft edges",
    ),
    Case("JPEG", lambda k: grey(k, "mask.jpg", labels().astype(np.uint8)), "is JPEG"),
    Case("JPEG named .png", lambda k: grey(k, "mask.png", labels().astype(np.uint8), format="JPEG"), "is JPEG"),
    Case("WebP", lambda k: grey(k, "mask.webp", labels().astype(np.uint8), "RGB"), "is WEBP"),
    Case("GIF", lambda k: grey(k, "mask.gif", labels().astype(np.uint8)), "is GIF"),
    Case("an animated PNG", lambda k: k.track(mask=animated(k)), "moving.png'"),
    Case("a TIFF of two pages", lambda k: k.track(mask=pages(k)), "pages.tif'"),
    Case("floats", lambda k: grey(k, "float.tif", floats(0)), "has pixels of type F"),
    Case("floats with NaN", lambda k: grey(k, "nan.tif", floats(np.nan)), "has pixels of type F"),
    Case("32-bit numbers", lambda k: grey(k, "wide.tif", labels().astype(np.int32)), "has pixels of type I"),
    Case("half transparent pixels", lambda k: grey(k, "clear.png", half_clear(), "LA"), "has transparent pixels"),
    Case("255 beside large ids", lambda k: grey(k, "ids.png", (labels() * 127.5).astype(np.uint8)), "255 may be void"),
    Case("all black", lambda k: grey(k, "black.png", np.zeros((HEIGHT, WIDTH), np.uint8)), "has no object"),
    Case(
        "only void",
        lambda k: k.track(mask=k.labelled("void.png", np.full((HEIGHT, WIDTH), VOID, np.uint16))),
        "has no object",
    ),
    Case("one of two objects all black", one_void_of_two, "thing-2.png' is all black"),
    Case("two objects that overlap", two_overlapping, "overlap in 168 pixels"),
    Case(
        "two maps for one frame",
        lambda k: k.track("--mask", k.mask),
        "of one object holds the values 1, 2",
    ),
    Case("frame 99 of 3", lambda k: k.track(mask=f"{k.mask}@99"), "frame 99 of"),
    Case("frame -1", lambda k: k.track(mask=f"{k.mask}@-1"), "@-1"),
    Case("-1 second", lambda k: k.track(mask=f"{k.mask}@-1s"), "@-1s"),
    Case("second 99 of a short clip", lambda k: k.track(mask=f"{k.mask}@99s"), "99 s"),
    Case("a word for a frame", lambda k: k.track(mask=f"{k.mask}@first"), "@first"),
    Case("nothing after the @", lambda k: k.track(mask=f"{k.mask}@"), "first.png@"),
    Case("a frame number of 5000 digits", lambda k: k.track(mask=f"{k.mask}@{'9' * 5000}"), "999"),
]
