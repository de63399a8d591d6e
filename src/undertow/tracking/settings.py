"""What a tracker may be told, and how that and the model's card become the numbers one run uses."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from undertow.affinity import KernelSettings, Preset, get_preset
from undertow.backbones import Backbone, Noising, Site, inversion_steps
from undertow.base import SettingsError


@dataclass(frozen=True)
class TrackSettings:
    """Options of mask tracking; whatever is None is taken from the model's card or the preset.

    Args:
        preset: Propagation order: drift, dift, dino, crw, pixels or latents.
        tokens: Number of tokens the frame is seen as; the model input is the multiple of its stride nearest to it.
        size: Model input as (width, height) in pixels instead.
        fit: "aspect" keeps the picture's shape; "squash" makes the input square, as the paper does.
        temperature: Divides the similarities.
        radius: Half side of the window in tokens at the run's grid; without it the card's radius, scaled to the grid.
        topk: Number of weights kept per token.
        recent: Number of previous frames kept beside the anchors.
        softmax_scope: Replaces the preset's (see `KernelSettings`).
        timestep: Noise level of the observed latents.
        noising: "invert", "noise" or "clean".
        first_labels: How a given mask comes down to the grid: exact area averages, or nearest for parity.
        channel_norm: "minmax" stretches each channel before the argmax, as DINO's evaluation does.
        batch: Frames observed at once; batches align to absolute frame numbers.
        seed: Seed of the noise.
        lost: What becomes of an object that is lost: "empty" gives it no pixels, keeps the frame from teaching later
            ones, and searches its anchor for it; "keep" only says so. Without it, "empty" for the presets that the
            card's presence was calibrated with.
    """

    preset: str | None = None
    tokens: int | None = None
    size: tuple[int, int] | None = None
    fit: Literal["aspect", "squash"] = "aspect"
    temperature: float | None = None
    radius: int | None = None
    topk: int | None = None
    recent: int | None = None
    softmax_scope: Literal["reference", "window", "joint", "none", "survivors"] | None = None
    timestep: int | None = None
    noising: Literal["invert", "noise", "clean"] | None = None
    first_labels: Literal["area", "nearest"] = "area"
    channel_norm: Literal["none", "minmax"] = "none"
    batch: int = 4
    seed: int = 0
    lost: Literal["empty", "keep"] | None = None

    def __post_init__(self) -> None:
        for name, least in (("tokens", 16), ("radius", 0), ("topk", 1), ("recent", 0), ("batch", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"{name} is {value}; give {least} or more")
        if self.lost not in (None, "empty", "keep"):
            raise SettingsError(f"lost is {self.lost!r}; choose empty or keep")
        if self.timestep is not None and not 0 <= self.timestep < 1000:
            raise SettingsError(f"timestep is {self.timestep}; give 0 to 999")
        if self.size is not None and min(self.size) < 16:
            raise SettingsError(f"size is {self.size[0]}x{self.size[1]}; give at least 16x16 pixels")


@dataclass(frozen=True)
class ResolvedSettings:
    """The numbers one run uses: everything that decides its result besides the frames, the cues and the weights."""

    model: str
    preset: Preset
    kernel: KernelSettings
    recent: int
    noising: Noising
    sites: tuple[Site, ...]
    input_size: tuple[int, int]
    grid: tuple[int, int]
    first_labels: Literal["area", "nearest"]
    channel_norm: Literal["none", "minmax"]
    batch: int
    dtype: str
    lost: Literal["empty", "keep"]

    def as_dict(self) -> dict[str, Any]:
        """Returns the settings as plain values for `run.json`."""
        return asdict(self)


def resolve(
    settings: TrackSettings, backbone: Backbone, height: int, width: int, *, tuned: bool = False
) -> ResolvedSettings:
    """Returns the numbers of a run on frames of one size: explicit settings first, then the card, then the preset.

    A card's window radius was chosen on its own grid, so it is scaled by the square root of the number of tokens.

    Args:
        settings: What was asked for.
        backbone: The model.
        height: Of the frames.
        width: Of the frames.
        tuned: Whether kernels are tuned: the card may name sites for that which the text reaches, and presence was
            calibrated without.

    Raises:
        SettingsError: if the preset or model has no such option.
    """
    card = backbone.card
    preset = get_preset(settings.preset or card.preset)
    wanted = None if settings.size is None else (settings.size[1], settings.size[0])
    input_size = backbone.input_size(height, width, tokens=settings.tokens, size=wanted, fit=settings.fit)
    sites = card.sites["track"]
    if preset.source == "features":
        # Hidden states and attention need not be best at the same depth.
        sites = card.sites.get("features", sites)
    if tuned:
        sites = card.sites.get("tuning", sites)
    stride = sites[0].stride
    grid = (input_size[0] // stride, input_size[1] // stride)

    kernel = preset.kernel
    if settings.softmax_scope is not None:
        kernel = replace(kernel, softmax_scope=settings.softmax_scope)
    usual = card.temperatures.get(preset.name, kernel.temperature)
    if tuned:
        usual = card.temperatures.get(f"{preset.name}, tuned", usual)
    temperature = settings.temperature or usual
    radius = settings.radius
    if radius is None:
        scale = (grid[0] * grid[1] / (card.window_grid[0] * card.window_grid[1])) ** 0.5
        radius = max(1, round(card.window_radius * scale))
    kernel = replace(kernel, temperature=temperature, radius=radius, topk=settings.topk or card.topk)
    timestep = card.noising.timestep if settings.timestep is None else settings.timestep
    steps = card.noising.steps_grid
    noising = replace(
        card.noising,
        kind=settings.noising or card.noising.kind,
        timestep=timestep,
        steps_grid=steps if steps and steps[-1] == timestep else inversion_steps(timestep),
        seed=settings.seed,
    )
    return ResolvedSettings(
        model=card.name,
        preset=preset,
        kernel=kernel,
        recent=card.recent if settings.recent is None else settings.recent,
        noising=noising,
        sites=sites,
        input_size=input_size,
        grid=grid,
        first_labels=settings.first_labels,
        channel_norm=settings.channel_norm,
        batch=settings.batch,
        dtype=str(backbone.dtype).removeprefix("torch."),
        lost=settings.lost or ("empty" if preset.name in card.calibrated and not tuned else "keep"),
    )


def settings_from(values: Mapping[str, Any]) -> TrackSettings:
    """Returns settings from plain values, such as command-line options; None means "not given"."""
    return TrackSettings(**{name: value for name, value in values.items() if value is not None})
