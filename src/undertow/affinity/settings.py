"""The kernel's settings, whose options are the orders of operation of published trackers, and these as presets."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from undertow.base import SettingsError

SimilarityKind = Literal["dot", "cosine", "distance"]
SoftmaxScope = Literal["reference", "window", "joint", "none", "survivors"]
WindowShape = Literal["square", "disc"]
TopkScope = Literal["joint", "per_reference"]
TopkStage = Literal["mixed", "per_head"]


@dataclass(frozen=True)
class KernelSettings:
    """How a frame's tokens are compared with those of its references; the defaults are DRIFT's order.

    DRIFT (arXiv 2511.19936) leaves the order open; the default is the likeliest reading of it: per-head softmax over
    all keys of one reference, heads mixed, window, joint top-k over all references, renormalise.

    Attributes:
        similarity: "dot" is q·k / √d, "cosine" is q·k of vectors of length one, "distance" is −|q − k|².
        temperature: Logits are similarity / temperature.
        softmax_scope: What the weights of one head sum to one over:
            "reference": all keys of one reference, near or far (DRIFT);
            "window": the keys of one reference inside the window;
            "joint": the keys of all references inside the window;
            "none": nothing, they are exp(logit), summed over heads (DINO, DIFT: renormalising follows the top-k);
            "survivors": the k kept, as exp(logit); heads are averaged as logits before the top-k (CRW).
        window: "square" keeps |Δy| ≤ radius and |Δx| ≤ radius; "disc" keeps Δy² + Δx² < radius², as in CRW. Windows
            are clipped at the border of the grid, not shifted.
        radius: In tokens; None compares with everything.
        topk: Number of weights kept per token.
        topk_scope: Whether k are kept of all references together, or of each.
        topk_stage: Whether k are kept of the mixed heads, or of each head before mixing.
        renormalise: Whether the kept weights of a token are divided by their sum.
        first_frame_unrestricted: Whether reference 0 has no window, so that it can be found again anywhere (CRW).
    """

    similarity: SimilarityKind = "dot"
    temperature: float = 1.0
    softmax_scope: SoftmaxScope = "reference"
    window: WindowShape = "square"
    radius: int | None = 14
    topk: int = 15
    topk_scope: TopkScope = "joint"
    topk_stage: TopkStage = "mixed"
    renormalise: bool = True
    first_frame_unrestricted: bool = False

    def __post_init__(self) -> None:
        choices = {
            "similarity": SimilarityKind,
            "softmax_scope": SoftmaxScope,
            "window": WindowShape,
            "topk_scope": TopkScope,
            "topk_stage": TopkStage,
        }
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise SettingsError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(get_args(kind))}")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise SettingsError(f"temperature is {self.temperature}; give a number above 0")
        if self.topk < 1:
            raise SettingsError(f"topk is {self.topk}; give 1 or more")
        least = 1 if self.window == "disc" else 0
        if self.radius is not None and self.radius < least:
            raise SettingsError(
                f"radius is {self.radius}; a {self.window} window needs {least} or more, and None means no window"
            )

    @property
    def logarithmic(self) -> bool:
        """Whether tokens are ranked by logits, which may be of any size, instead of by normalised weights."""
        return self.softmax_scope in ("none", "survivors")

    def radius_of(self, reference: int) -> int | None:
        """Returns the window's radius on one reference, counted from the anchor at 0; None where there is no window."""
        return None if reference == 0 and self.first_frame_unrestricted else self.radius


@dataclass(frozen=True)
class Preset:
    """A propagation order: what is compared, how, and against how many recent frames beside the anchors.

    Attributes:
        name: What users call it.
        source: "attention" compares queries with keys; "features" hidden states, "latents" 3 x 3 patches of latents and
            "pixels" 3 x 3 patches of RGB in [0, 1] with themselves, as a single head.
        kernel: The kernel's settings. Radii are those of the publication's own grid.
        recent: Number of previous frames kept as references.
        motion: Whether the tokens of previous frames are followed along optical flow, and expected where it takes them.
        appearance: Whether objects are also told apart by what all references say that they look like and, where tokens
            are followed, by how they move.
    """

    name: str
    source: Literal["attention", "features", "latents", "pixels"]
    kernel: KernelSettings
    recent: int
    motion: bool = False
    appearance: bool = False


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
        # The same with ADM, an unconditional model of pixels: temperature 0.1, square of 15, 10 best, 28 frames.
        Preset(
            "adm",
            "features",
            KernelSettings(similarity="cosine", temperature=0.1, softmax_scope="none", radius=15, topk=10),
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
        # DINOv3's tracking notebook: temperature 0.2, circle of 12, 5 best, 7 frames; arXiv 2508.10104 tunes the same.
        Preset(
            "dinov3",
            "features",
            KernelSettings(
                similarity="cosine", temperature=0.2, softmax_scope="survivors", window="disc", radius=12, topk=5
            ),
            recent=7,
        ),
        # Our own: DIFT's order, in which what optical flow expects elsewhere weighs less (docs/tracking.md).
        Preset(
            "flow",
            "features",
            KernelSettings(similarity="cosine", temperature=0.2, softmax_scope="none", radius=15, topk=15),
            recent=5,
            motion=True,
            appearance=True,
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
