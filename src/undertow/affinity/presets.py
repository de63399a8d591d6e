"""The published orders, as presets: where features come from, how they are compared, how many frames are kept."""

from dataclasses import dataclass
from typing import Literal

from undertow.affinity.settings import KernelSettings
from undertow.base import SettingsError


@dataclass(frozen=True)
class Preset:
    """One way to propagate labels.

    Attributes:
        name: What users call it.
        source: What is compared: attention queries and keys, the hidden states at the same site, 3 x 3 patches of the
            autoencoder's latents, or 3 x 3 patches of colours.
        kernel: Order and constants; the tracker scales the radius to its grid.
        recent: Previous frames kept beside frame 0 in the publication.
    """

    name: str
    source: Literal["attention", "features", "latents", "pixels"]
    kernel: KernelSettings
    recent: int


PRESETS = {
    preset.name: preset
    for preset in (
        # DRIFT (arXiv 2511.19936), Eq. 2 and section 4.1: softmax per head and reference, radius 14, top 15, 7 frames.
        Preset("drift", "attention", KernelSettings("dot", 1.0, "reference", "square", 14, 15), 7),
        # DIFT, eval_davis.py as its README runs it for Stable Diffusion: temperature 0.2, radius 15, top 15, 28 frames.
        Preset("dift", "features", KernelSettings("cosine", 0.2, "none", "square", 15, 15), 28),
        # DINO, eval_video_segmentation.py: exp(cosine / 0.1), square of 12, top 5, 7 frames.
        Preset("dino", "features", KernelSettings("cosine", 0.1, "none", "square", 12, 5), 7),
        # CRW, test.py as its README runs it: temperature 0.05, disc of 12 but not on frame 0, top 10, 20 frames.
        Preset(
            "crw",
            "features",
            KernelSettings("cosine", 0.05, "survivors", "disc", 12, 10, first_frame_unrestricted=True),
            20,
        ),
        # Controls. Distances are of 27 colour values in [0, 1], or of 36 latent values of deviation about 1.
        Preset("pixels", "pixels", KernelSettings("distance", 0.1, "none", "square", 12, 15), 7),
        Preset("latents", "latents", KernelSettings("distance", 2.0, "none", "square", 12, 15), 7),
    )
}


def get_preset(name: str) -> Preset:
    """Returns the preset called `name`.

    Raises:
        SettingsError: if there is none.
    """
    if name not in PRESETS:
        raise SettingsError(f"preset '{name}' is not one of {', '.join(PRESETS)}")
    return PRESETS[name]
