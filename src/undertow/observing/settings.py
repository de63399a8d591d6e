"""How frames are shown to a model: what may be asked for, the numbers that a run uses, and what observing takes."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from undertow.backbones import Noising, Site, inversion_steps
from undertow.base import Options, SettingsError, option

if TYPE_CHECKING:
    from undertow.backbones import Backbone, Card

LEAST_SIDE = 16
NoisingKind = Literal["invert", "noise", "clean"]
# What of a frame is compared: queries with keys, hidden states, or 3 x 3 patches of latents or of RGB in [0, 1].
Source = Literal["attention", "features", "latents", "pixels"]
# Most tokens for each square of a frame that has the side of a token: 8160 for 854x480 in squares of 8.
PER_CELL = 1.28
# Tokens as a share of those of `normal`, of `tiny` on 854x480: 2040, 3600, 8160 and 14400 (docs/benchmarks.md,
# "Tokens", and docs/speed.md, "Live").
DETAIL = {"live": 0.25, "draft": 0.44, "normal": 1.0, "fine": 1.76}


@dataclass(frozen=True)
class FrameSettings(Options):
    """Options that every task has; None means the value of the model's card.

    Raises:
        SettingsError: if a value is out of range or unknown.
    """

    tokens: int | None = option(
        None,
        "Number of tokens per frame; the model input is the nearest multiple of its stride.",
        least=16,
    )
    size: tuple[int, int] | None = option(None, "Model input as (width, height) in pixels instead.")
    detail: Literal["live", "draft", "normal", "fine"] = option(
        "normal",
        "How many tokens frames have; draft takes half the time of normal and loses small things, live takes a quarter "
        "and loses outlines too, fine takes twice. Counts unless tokens or size are given.",
    )
    fit: Literal["aspect", "squash"] = option(
        "aspect", "Whether the model input keeps the frame's shape (aspect) or is a square (squash).", expert=True
    )
    timestep: int | None = option(
        None, "Noise level at which the model is observed, out of 1000.", expert=True, least=0, most=999
    )
    noising: NoisingKind | None = option(
        None, "How frames get their noise; by DDIM inversion, as Gaussian noise, or not at all (clean).", expert=True
    )
    batch: int = option(4, "Frames observed at once; batches align to absolute frame numbers.", expert=True, least=1)
    seed: int = option(0, "Seed of the noise.", expert=True, least=0)
    cache: Path | None = option(
        None,
        "Folder that caches the features of frames, at most 16 GB, for much faster further runs; no cache if not "
        "given.",
        expert=True,
        decides=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None and min(self.size) < LEAST_SIDE:
            # As people type sizes.
            given, least = f"{self.size[0]}x{self.size[1]}", f"{LEAST_SIDE}x{LEAST_SIDE}"
            raise SettingsError(f"size is {given}; give at least {least} pixels")


@dataclass(frozen=True)
class ResolvedFrames:
    """The numbers by which frames are shown to a model in one run.

    Attributes:
        model: Name of the card.
        sites: Attentions that are read.
        noising: The noise level at which they are read, and the way there.
        input_size: (height, width) in pixels that frames are shown at.
        grid: (height, width) in tokens.
        batch: Frames observed at once.
        dtype: Number type of the weights.
    """

    model: str
    sites: tuple[Site, ...]
    noising: Noising
    input_size: tuple[int, int]
    grid: tuple[int, int]
    batch: int
    dtype: str

    def as_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain values for `run.json`."""
        return asdict(self)


def resolve_frames(
    settings: FrameSettings,
    backbone: "Backbone",
    height: int,
    width: int,
    *purposes: str,
    level: Noising | None = None,
    shown: tuple[int, int] | None = None,
    several: bool = False,
) -> ResolvedFrames:
    """Returns the numbers for frames of one size: explicit settings first, then what the card has for the purposes.

    The `purposes` are keys of the card's sites, such as "points", the one that suits best first; last of all comes
    "track". The noise level is `level`, if given, before that of the first purpose which has one on the card, and the
    card's own. Frames are `shown` at that (height, width), if given, unless settings say otherwise. A model with
    partners is for tasks that compare by `several`.

    Raises:
        SettingsError: if the model cannot be shown frames of that size.
    """
    card = backbone.card
    if backbone.partners and not several:
        raise SettingsError(f"only masks are tracked with several models; give '{card.name}' alone")
    size = None if settings.size is None else (settings.size[1], settings.size[0])
    if shown is None or size is not None or settings.tokens is not None or settings.detail != "normal":
        detailed = DETAIL[settings.detail] * usual_tokens(card, height, width, *purposes)
        tokens = settings.tokens or max(1, round(detailed))
        shown = backbone.input_size(height, width, tokens=tokens, size=size, fit=settings.fit)
    sites = card.sites[next((purpose for purpose in purposes if purpose in card.sites), "track")]
    usual = level or next((card.levels[each] for each in purposes if each in card.levels), card.noising)
    return ResolvedFrames(
        model=card.name,
        sites=sites,
        noising=noise_level(usual, settings.timestep, settings.noising, settings.seed),
        input_size=shown,
        grid=(shown[0] // sites[0].stride, shown[1] // sites[0].stride),
        batch=settings.batch,
        dtype=str(backbone.dtype).removeprefix("torch."),
    )


def usual_tokens(card: "Card", height: int, width: int, *purposes: str) -> int:
    """Returns how many tokens frames of one size are usually seen as, for the first purpose with a budget of its own.

    A larger budget than the card's own is spent only as far as frames have pixels for it: small ones cost no more.
    """
    most = next((card.budgets[each] for each in purposes if each in card.budgets), card.token_budget)
    side = card.sites["track"][0].stride
    return min(most, max(card.token_budget, round(PER_CELL * height * width / side**2)))


def noise_level(
    usual: Noising, timestep: int | None = None, kind: NoisingKind | None = None, seed: int | None = None
) -> Noising:
    """Returns the usual way to a noise level but for what is given; another timestep is inverted to in steps of 20."""
    if timestep is None:
        timestep = usual.timestep
    steps, kind = usual.steps_grid, kind or usual.kind
    return replace(
        usual,
        kind=kind,
        ensemble=usual.ensemble if kind == "noise" else 1,
        timestep=timestep,
        steps_grid=steps if steps and steps[-1] == timestep else inversion_steps(timestep),
        seed=usual.seed if seed is None else seed,
    )


FLOAT = 4


def passes_per_frame(noising: Noising) -> int:
    """Returns how often the network runs for a frame: each step of an inversion, and each draw that is observed."""
    return noising.ensemble + (len(noising.steps_grid) if noising.kind == "invert" else 0)


def network_bytes(backbone: "Backbone", input_size: tuple[int, int], frames: int) -> int:
    """Returns about what observing some frames together takes, without having measured it.

    The widest place is the autoencoder's first block, at full resolution: its input, kept for the shortcut, and three
    versions of it on their way through norm, activation and convolution; and the input itself as float32, twice. Or it
    is the denoiser's widest block, of which as much is held for every latent cell.
    """
    pixels, together = input_size[0] * input_size[1], backbone.autoencoder.together(frames, *input_size)
    encoding = 4 * backbone.encoder_width * backbone.dtype.itemsize * together / frames + 2 * 3 * FLOAT
    denoising = 4 * backbone.denoiser_width * backbone.dtype.itemsize / backbone.stride**2
    return int(frames * pixels * max(encoding, denoising))
