"""Colours for numbers: black through purple and orange to pale yellow, in steps that look equally large.

The ramp is laid out in OKLab (Björn Ottosson, 2020), where distances are close to perceived ones: lightness rises
evenly, while hue and strength of colour follow a few anchors.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, Shaped, UInt8

# (lightness, chroma, hue in degrees); lightness is equally spaced, chroma stays inside what a screen can show.
ANCHORS = (
    (0.10, 0.03, 285.0),
    (0.27, 0.11, 295.0),
    (0.44, 0.16, 335.0),
    (0.61, 0.17, 385.0),
    (0.78, 0.15, 425.0),
    (0.95, 0.09, 463.0),
)
NOT_A_NUMBER = 128


def heat(
    values: Shaped[np.ndarray, "h w"], *, low: float | None = None, high: float | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns an RGB picture of numbers: `low` is nearly black, `high` pale yellow, equal steps look equal.

    Args:
        values: any real numbers; those that are not finite become mid-grey.
        low: value of the darkest colour, by default the least finite value.
        high: value of the lightest colour, by default the largest finite value; values beyond are clipped.
    """
    numbers = np.asarray(values, np.float64)
    finite = np.isfinite(numbers)
    seen = numbers[finite] if finite.any() else np.zeros(1)
    low = float(seen.min()) if low is None else low
    high = float(seen.max()) if high is None else high
    share = (np.where(finite, numbers, low) - low) / (high - low if high > low else 1.0)
    picture: UInt8[np.ndarray, "h w 3"] = heat_colours()[np.rint(255 * share.clip(0, 1)).astype(np.intp)]
    picture[~finite] = NOT_A_NUMBER
    return picture


@cache
def heat_colours() -> UInt8[np.ndarray, "256 3"]:
    """Returns the ramp as 256 RGB colours, from dark to light."""
    place = np.linspace(0, 1, 256)
    knots = np.linspace(0, 1, len(ANCHORS))
    lightness, chroma, hue = (np.interp(place, knots, anchor) for anchor in zip(*ANCHORS, strict=True))
    angle = np.deg2rad(hue)
    colours = oklab_to_srgb(np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=1))
    shown: UInt8[np.ndarray, "256 3"] = np.rint(255 * colours.clip(0, 1)).astype(np.uint8)
    return shown


def oklab_to_srgb(lab: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Returns sRGB in 0..1 (beyond if a screen cannot show it) for OKLab, by Ottosson's matrices."""
    to_cones = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = (lab @ to_cones.T) ** 3 @ to_linear.T
    positive = linear.clip(min=0)
    srgb: Float[np.ndarray, "n 3"] = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * positive ** (1 / 2.4) - 0.055
    )
    return srgb
