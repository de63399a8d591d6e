"""Presets: published propagation orders, each a few settings of the one kernel, and two colour controls."""

from dataclasses import dataclass
from typing import Literal

from undertow.affinity.settings import KernelSettings
from undertow.base import SettingsError


@dataclass(frozen=True)
class Preset:
    """A propagation order: what is compared, how, and against how many recent frames beside the anchors.

    Attributes:
        name: What users call it.
        source: "attention" compares queries with keys; "features" hidden states, "latents" 3 x 3 patches of latents and
            "pixels" 3 x 3 patches of RGB in [0, 1] with themselves, as a single head.
        kernel: The kernel's settings. Radii are those of the publication's own grid.
        recent: Number of previous frames kept as references.
    """

    name: str
    source: Literal["attention", "features", "latents", "pixels"]
    kernel: KernelSettings
    recent: int


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        # DRIFT (arXiv 2511.19936), section 4: radius 14 on a 96 x 96 grid, 15 best, frame 0 and the 7 before.
        Preset("drift", "attention", KernelSettings(radius=14, topk=15), recent=7),
        # DINO, eval_video_segmentation.py defaults: exp(cos / 0.1), square of 12, 5 best, 7 frames.
        Preset(
            "dino",
            "features",
            KernelSettings(similarity="cosine", temperature=0.1, softmax_scope="none", radius=12, topk=5),
            recent=7,
        ),
        # DIFT, README command for DAVIS with SD 2.1: temperature 0.2, square of 15, 15 best, 28 frames.
        Preset(
            "dift",
            "features",
            KernelSettings(similarity="cosine", temperature=0.2, softmax_scope="none", radius=15, topk=15),
            recent=28,
        ),
        # CRW (videowalk), README command: temperature 0.05, disc of 12, 10 best, 20 frames, frame 0 without a window.
        Preset(
            "crw",
            "features",
            KernelSettings(
                similarity="cosine",
                temperature=0.05,
                softmax_scope="survivors",
                window="disc",
                radius=12,
                topk=10,
                first_frame_unrestricted=True,
            ),
            recent=20,
        ),
        # Controls of our own: what plain colours and the autoencoder's latents already track, in DRIFT's window.
        Preset(
            "pixels",
            "pixels",
            KernelSettings(similarity="distance", temperature=0.1, softmax_scope="survivors", radius=14, topk=15),
            recent=7,
        ),
        Preset(
            "latents",
            "latents",
            KernelSettings(similarity="distance", temperature=1.0, softmax_scope="survivors", radius=14, topk=15),
            recent=7,
        ),
    )
}


def get_preset(name: str) -> Preset:
    """Returns the preset called `name`.

    Raises:
        SettingsError: if there is none.
    """
    if name not in PRESETS:
        raise SettingsError(f"preset '{name}' is not known; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
