"""Colours with the statistics of photographs: mostly light and dark, a little blue and yellow, less red and green."""

import numpy as np
from jaxtyping import Float

# Columns turn (luminance, yellow-blue, red-green) into RGB: Ruderman, Cronin and Chiao (1998) found these to be very
# nearly the decorrelated axes of natural scenes, in this order of variance.
OPPONENT_TO_RGB = np.array([[1.0, 0.58, 0.71], [1.0, 0.58, -0.71], [1.0, -1.15, 0.0]], dtype=np.float32)

NAMES: dict[str, tuple[float, float, float]] = {
    "black": (0.08, 0.08, 0.08),
    "white": (0.93, 0.93, 0.92),
    "grey": (0.5, 0.5, 0.5),
    "red": (0.7, 0.18, 0.16),
    "orange": (0.85, 0.5, 0.15),
    "yellow": (0.85, 0.78, 0.25),
    "green": (0.25, 0.55, 0.22),
    "blue": (0.2, 0.35, 0.7),
    "purple": (0.5, 0.25, 0.6),
    "pink": (0.88, 0.6, 0.65),
    "brown": (0.42, 0.29, 0.18),
    "beige": (0.78, 0.7, 0.56),
    "olive": (0.42, 0.42, 0.2),
    "teal": (0.2, 0.5, 0.5),
}
_NAMED = np.array(list(NAMES.values()), dtype=np.float32)


def natural_colours(random: np.random.Generator, count: int) -> Float[np.ndarray, "count 3"]:
    """Returns RGB colours in [0, 1] drawn from a natural-like covariance, one in eight of them vivid."""
    luminance = np.clip(random.normal(0.45, 0.22, count), 0.04, 0.96)
    # Chroma is heavy-tailed in photographs: many nearly grey surfaces, a few saturated ones.
    spread = np.where(random.random(count) < 0.125, 2.2, 1.0)
    yellow_blue = 0.06 * spread * random.standard_t(4, count) + 0.02
    red_green = 0.04 * spread * random.standard_t(4, count)
    opponent = np.stack([luminance, yellow_blue, red_green], axis=1).astype(np.float32)
    return np.clip(opponent @ OPPONENT_TO_RGB.T, 0.02, 0.98).astype(np.float32)


def near(random: np.random.Generator, colour: Float[np.ndarray, "3"], spread: float) -> Float[np.ndarray, "3"]:
    """Returns a colour about `spread` away from `colour`, mostly in luminance."""
    opponent = random.normal(0.0, spread, 3) * np.array([1.0, 0.4, 0.3])
    return np.clip(colour + OPPONENT_TO_RGB @ opponent.astype(np.float32), 0.02, 0.98).astype(np.float32)


def name_of(colour: Float[np.ndarray, "3"]) -> str:
    """Returns the nearest colour name, comparing chroma more strictly than luminance."""
    to_opponent = np.linalg.inv(OPPONENT_TO_RGB)
    difference = (_NAMED - colour) @ to_opponent.T * np.array([1.0, 2.5, 2.5], dtype=np.float32)
    return list(NAMES)[int(np.argmin((difference**2).sum(axis=1)))]
