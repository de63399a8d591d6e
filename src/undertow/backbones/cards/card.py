"""What undertow knows of one model, and where in it to look: `Card`, `Site` and `Noising`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from undertow.base import SettingsError

Family = Literal["unet-image", "unet-video", "unet-clip", "dit", "vit"]
Prediction = Literal["epsilon", "v_prediction", "flow", "none"]


@dataclass(frozen=True)
class Site:
    """One attention module to read.

    Attributes:
        path: Module path inside the denoiser, such as `up_blocks.3.attentions.0.transformer_blocks.0.attn1`.
        kind: What its keys come from: the frames seen together (`self`; one frame for an image model), the text
            (`cross`), both together (`joint`), or the same place in other frames (`temporal`). A `block` is not one
            but a block of a UNet, such as `up_blocks.2`, or another place in a vision transformer, whose output is read
            as one head of all its channels.
        heads: Number of heads.
        head_dim: Dimensions per head.
        stride: Image pixels per side of one query token.
    """

    path: str
    kind: Literal["self", "cross", "joint", "temporal", "block"]
    heads: int
    head_dim: int
    stride: int


@dataclass(frozen=True)
class Noising:
    """How a clean latent reaches the noise level at which the network is observed.

    Attributes:
        kind: `invert` (deterministic DDIM inversion), `noise` (Gaussian noise) or `clean` (the latent as it is; the
            network is only given the timestep).
        timestep: Training timestep of the observation, out of usually 1000.
        steps_grid: Timesteps visited by the inversion, rising, the last one being `timestep`; one denoiser call each.
        label: The timestep an inversion step tells the network: that of the level it goes to (`destination`, as
            diffusers does) or of the level it comes from (`source`).
        seed: Of the Gaussian noise.
        shared: Whether every frame gets the same noise; otherwise each frame index has its own.
        ensemble: How many draws of Gaussian noise are observed, with the seeds from `seed` on; features are their mean.

    Raises:
        SettingsError: if the numbers contradict each other.
    """

    kind: Literal["invert", "noise", "clean"] = "invert"
    timestep: int = 41
    steps_grid: tuple[int, ...] = (1, 21, 41)
    label: Literal["destination", "source"] = "destination"
    seed: int = 0
    shared: bool = False
    ensemble: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("invert", "noise", "clean"):
            raise SettingsError(f"noising '{self.kind}' is not one of invert, noise, clean")
        if self.label not in ("destination", "source"):
            raise SettingsError(f"inversion label '{self.label}' is not one of destination, source")
        if self.ensemble < 1 or (self.ensemble > 1 and self.kind != "noise"):
            raise SettingsError(f"an ensemble of {self.ensemble} goes with noising noise; give 1 with {self.kind}")
        if self.timestep < 0 or self.seed < 0:
            raise SettingsError(
                f"timestep {self.timestep} and noise seed {self.seed} must not be negative; give 0 or more"
            )
        if self.kind == "invert" and (
            not self.steps_grid
            or self.steps_grid[-1] != self.timestep
            or any(a >= b for a, b in zip((-1, *self.steps_grid), self.steps_grid, strict=False))
        ):
            raise SettingsError(f"inversion steps {self.steps_grid} must rise and end at timestep {self.timestep}")


def inversion_steps(timestep: int, step: int = 20, first: int = 1) -> tuple[int, ...]:
    """Returns the timesteps `first`, `first + step`, ... below `timestep`, and then `timestep` itself.

    The defaults are 50 of 1000 steps with Stable Diffusion's offset of 1: 41 gives (1, 21, 41).
    """
    return (*range(first, timestep, step), timestep)


# What a card may name sites for; without any of its own, a purpose is served by the sites of "track".
PURPOSES = (
    "track", "features", "dift", "points", "parse", "correspond", "modulate", "emerdiff", "refer", "tuning", "guidance",
)  # fmt: skip


@dataclass(frozen=True)
class Card:
    """What is known of one model before any weight is read.

    Attributes:
        name: What users call it.
        hub_ids: Hugging Face repositories that hold it, best first, each OWNER/NAME or, with the commit it is pinned
            to, OWNER/NAME@COMMIT; empty if it ships with the package.
        revision: Commit, branch or tag of the repositories that are not pinned; `None` for the newest.
        sha256: Digest of weight files by their path in the repository. If one file of a component (such as the
            denoiser) is listed, then no other weights of it are ever loaded.
        licence: Of the weights.
        gated: Whether the hub asks for an account first.
        family: What its denoiser is: an image UNet, one that continues an image (`unet-video`), one that makes clips
            from text (`unet-clip`), a transformer, of images if `chunk` is 1, or a vision transformer, which denoises
            nothing.
        chunk: How many frames a forward sees together; 1 for image models, whose frames do not see each other.
        prediction: What the denoiser returns: the noise, the velocity v = √ᾱ·noise − √(1−ᾱ)·clean, or the flow
            noise − clean; a vision transformer predicts none of these.
        token_budget: Default number of tokens per frame at the tracking site.
        budgets: That of some purposes, by the names of `sites`, where it differs.
        latent_stride: Image pixels per side of one latent cell.
        sites: Where to look, by purpose (see `PURPOSES`): "track" for masks, "features" for hidden states where that is
            another place, "dift" for those that DIFT's code reads, "points" for points, "parse", "correspond",
            "modulate" and "emerdiff" for semantic segmentation, "refer" for words, "tuning" of conditionings,
            "guidance" of sampling.
        noising: Default way to the observed noise level.
        levels: That of other purposes than tracking, by the names of `sites`, where it differs.
        preset: Default propagation preset.
        temperatures: Temperature of the similarities per preset, where it is not the preset's own.
        topk: Default number of weights kept per token.
        recent: Default number of previous frames kept as references beside the anchors.
        window_radius: Default radius of the matching window, in tokens.
        window_grid: (height, width) in tokens of the grid that `window_radius` was chosen on.
        published: Presets whose paper or repository used this model: its sites and noise level here are theirs ("dift"
            has sites and a level of its own), so that their numbers can be asked for. Of `tiny`, which no paper used,
            they are its own, and what else a preset brings is published.
        calibrated: Presets with which it was measured how sure the tracker is of an object; with others, and other
            models, presences are only an order. "flow" where it was measured how sure flow and matches of points are.
        word_reading: How attention to words is read, see `undertow.grounding.reading`.
        word_contrast: How clear a map of words must be to be believed, see `WordSettings.least`; 0 where it was not
            measured.
        null_text: Text that stands for "no text".
        embedded: Folder of this package that holds the weights; empty (false) if they are not shipped.
        untrained: Whether the denoiser is re-initialised after loading, as a control.
        positions: Where token (i, j) is for the rotary embedding of a video transformer: at its place in the
            grid the model was trained on, which the frame is fitted into (`base`, as CogVideoX does), or at (i, j)
            whatever the size (`cells`).
        notes: Anything else worth printing.
    """

    name: str
    hub_ids: tuple[str, ...]
    licence: str
    prediction: Prediction
    token_budget: int
    latent_stride: int
    sites: Mapping[str, tuple[Site, ...]]
    window_radius: int
    window_grid: tuple[int, int]
    noising: Noising = Noising()
    levels: Mapping[str, Noising] = field(default_factory=dict)
    budgets: Mapping[str, int] = field(default_factory=dict)
    revision: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    gated: bool = False
    family: Family = "unet-image"
    chunk: int = 1
    preset: str = "drift"
    temperatures: Mapping[str, float] = field(default_factory=dict)
    topk: int = 15
    recent: int = 7
    published: tuple[str, ...] = ()
    calibrated: tuple[str, ...] = ()
    word_reading: Literal["A", "B", "C"] = "B"
    word_contrast: float = 0.0
    null_text: str = ""
    embedded: str = ""
    untrained: bool = False
    positions: Literal["base", "cells"] = "base"
    notes: str = ""

    @property
    def sources(self) -> tuple[tuple[str, str | None], ...]:
        """The (repository, revision) pairs that hold the weights, best first; revision `None` is the newest."""
        parts = (hub_id.partition("@") for hub_id in self.hub_ids)
        return tuple((repository, commit or self.revision) for repository, _, commit in parts)

    @property
    def layout(self) -> Literal["diffusers", "transformers"]:
        """How its folder is laid out."""
        return "transformers" if self.family == "vit" else "diffusers"

    @property
    def memory_per_frame(self) -> int:
        """Bytes of the queries and keys of one frame at the default budget, in bfloat16."""
        tokens = self.budget("track")
        return sum(2 * 2 * tokens * site.heads * site.head_dim for site in self.sites["track"])

    def budget(self, purpose: str) -> int:
        """Returns the default number of tokens per frame for a purpose."""
        return self.budgets.get(purpose, self.token_budget)

    def places(self, *wanted: "str | Site") -> tuple[Site, ...]:
        """Returns the sites of some purposes (see `PURPOSES`), and sites that are given themselves.

        Raises:
            SettingsError: if there is no such purpose.
        """
        found: list[Site] = []
        for each in wanted:
            if isinstance(each, str) and each not in (*self.sites, *PURPOSES):
                raise SettingsError(f"'{each}' is no purpose of a model; give one of {', '.join(PURPOSES)}")
            found += [each] if isinstance(each, Site) else self.sites.get(each, self.sites["track"])
        return tuple(dict.fromkeys(found))
