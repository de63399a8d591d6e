"""What a point tracker may be told, its presets, and how these and the model's card become the numbers of one run."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from undertow.backbones import Backbone, Noising, Site, fit_size, inversion_steps
from undertow.base import SettingsError
from undertow.points.chunks import Cover
from undertow.points.positions import Decoding

Source = Literal["attention", "features", "latents", "pixels"]
Combination = Literal["forward", "mean", "product"]
Lookup = Literal["descriptor", "matches"]
Anchor = Literal["query", "first"]
Convention = Literal["centre", "corner"]


@dataclass(frozen=True)
class PointSettings:
    """Options of point tracking; whatever is None is taken from the preset, and then from the model's card.

    Attributes:
        preset: a name of `PRESETS`.
        tokens: number of tokens the frame is seen as; the model input is the multiple of its stride nearest to it.
        size: model input as (width, height) in pixels instead.
        fit: "aspect" keeps the picture's shape; "squash" makes the input square.
        source: "attention" compares queries with keys, "features" hidden states, "latents" and "pixels" 3 x 3 patches.
        heads: which heads of the site count; all if not given.
        temperature: divides the similarities.
        combination: of the softmax over the other frame (forward) and that over the point's own frame (backward): the
            forward one alone, their mean, or their product.
        lookup: a point between tokens is matched by its interpolated "descriptor", or gets the mean of the "matches" of
            the four tokens around it.
        decoding: how the place is read out of the costs, see `positions.decode`.
        radius: of the window round the best token, in tokens.
        power: of the window's weights.
        recent: weight, from 0 to 1, of the match with the frame before, beside that with the query's own frame.
        reach: how far from the last place the match with the frame before may lie, in tokens.
        smoothing: cost of a jump by one token, in paths through each frame's best places; 0 takes each frame alone.
        cover: how a video model's chunks cover the video, see `chunks.cover`.
        anchor: which frame a video model's chunks begin with: that of each "query", one pass for every frame that has
            queries, or the "first" of the video for all, one pass in total.
        spare: whether a video model's chunks begin with one more copy of their first frame, which is not read: in some
            models what all tokens look at lies in the first frame of a clip, and this keeps it out of the matches.
        noising: "invert", "noise" or "clean".
        timestep: noise level of the observed latents.
        batch: frames an image model observes at once; batches align to the first frame.
        seed: seed of the noise.
        visible: confidence from which a point counts as visible.
    """

    preset: str | None = None
    tokens: int | None = None
    size: tuple[int, int] | None = None
    fit: Literal["aspect", "squash"] = "aspect"
    source: Source | None = None
    heads: tuple[int, ...] | None = None
    temperature: float | None = None
    combination: Combination | None = None
    lookup: Lookup | None = None
    decoding: Decoding | None = None
    radius: int | None = None
    power: float | None = None
    recent: float | None = None
    reach: int | None = None
    smoothing: float | None = None
    cover: Cover | None = None
    anchor: Anchor | None = None
    spare: bool | None = None
    noising: Literal["invert", "noise", "clean"] | None = None
    timestep: int | None = None
    batch: int = 4
    seed: int = 0
    visible: float = 0.5

    def __post_init__(self) -> None:
        for name, least in (("tokens", 16), ("radius", 0), ("reach", 1), ("batch", 1), ("smoothing", 0), ("recent", 0)):
            value = getattr(self, name)
            if value is not None and not (value >= least and math.isfinite(value)):
                raise SettingsError(f"{name} is {value}; give {least} or more")
        for name, most in (("recent", 1), ("visible", 1)):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= most:
                raise SettingsError(f"{name} is {value}; give a number from 0 to {most}")
        for name in ("temperature", "power"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise SettingsError(f"{name} is {value}; give a number above 0")
        for name, kind in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in get_args(kind):
                raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(get_args(kind))}")
        if self.timestep is not None and not 0 <= self.timestep < 1000:
            raise SettingsError(f"timestep is {self.timestep}; give 0 to 999")
        if self.size is not None and min(self.size) < 16:
            raise SettingsError(f"size is {self.size[0]}x{self.size[1]}; give at least 16x16 pixels")


_CHOICES: Mapping[str, Any] = {
    "source": Source,
    "combination": Combination,
    "lookup": Lookup,
    "decoding": Decoding,
    "cover": Cover,
    "anchor": Anchor,
    "noising": Literal["invert", "noise", "clean"],
    "fit": Literal["aspect", "squash"],
}


@dataclass(frozen=True)
class PointPreset:
    """A way to match: the options it fixes, which explicit settings may still replace.

    Attributes:
        name: what users call it.
        about: one sentence.
        settings: the options.
        convention: whether token (i, j) stands for the "centre" of its cell, or for its top-left "corner" as in
            DiffTrack's code.
        scale: what logits are divided by, beside the temperature: the root of the "head dim" as in attention, or of the
            number of "heads" as in DiffTrack's tracking code; nothing for other sources than attention.
    """

    name: str
    about: str
    settings: Mapping[str, Any]
    convention: Convention = "centre"
    scale: Literal["head dim", "heads"] = "head dim"


_OURS: dict[str, Any] = {
    "source": "attention",
    "combination": "product",
    "lookup": "descriptor",
    "decoding": "window",
    "radius": 1,
    "power": 0.5,
    "recent": 0.0,
    "reach": 8,
    "smoothing": 0.1,
    "cover": "minimal",
    "anchor": "query",
    "spare": False,
}

PRESETS: dict[str, PointPreset] = {
    preset.name: preset
    for preset in (
        PointPreset("points", "attention of the card's site, with every improvement that was measured to help", _OURS),
        PointPreset(
            "difftrack",
            "the published procedure (arXiv 2506.17220, reference code) with its quirks",
            _OURS
            | {"combination": "mean", "lookup": "matches", "decoding": "token", "cover": "overlap", "temperature": 1.0}
            | {"recent": 0.0, "smoothing": 0.0, "anchor": "query"},
            convention="corner",
            scale="heads",
        ),
        PointPreset("dift", "cosine of hidden states, each frame by itself", _OURS | {"source": "features"}),
        PointPreset("latents", "control: 3 x 3 patches of the autoencoder's latents", _OURS | {"source": "latents"}),
        PointPreset("pixels", "control: 3 x 3 patches of colour", _OURS | {"source": "pixels"}),
    )
}
# Places of each frame that a path may lead through.
CANDIDATES = 5
# Where a card has no temperature of its own for points. Distances are of colours in [0, 1].
TEMPERATURES: Mapping[str, float] = {"attention": 1.0, "features": 0.02, "latents": 0.03, "pixels": 0.005}


def get_point_preset(name: str) -> PointPreset:
    """Returns the preset called `name`.

    Raises:
        SettingsError: if there is none.
    """
    if name not in PRESETS:
        raise SettingsError(f"preset '{name}' is not one of {', '.join(PRESETS)}, which follow points")
    return PRESETS[name]


@dataclass(frozen=True)
class ResolvedPoints:
    """The numbers one run uses: all that decides its result besides frames, queries and weights."""

    model: str
    preset: str
    source: Source
    sites: tuple[Site, ...]
    heads: tuple[int, ...] | None
    scale: float
    combination: Combination
    lookup: Lookup
    decoding: Decoding
    radius: int
    power: float
    recent: float
    reach: int
    smoothing: float
    cover: Cover
    anchor: Anchor
    spare: bool
    chunk: int
    convention: Convention
    candidates: int
    noising: Noising
    input_size: tuple[int, int]
    grid: tuple[int, int]
    batch: int
    visible: float
    dtype: str

    def as_dict(self) -> dict[str, Any]:
        """Returns the settings as plain values for `run.json`."""
        return asdict(self)


def resolve_points(settings: PointSettings, backbone: Backbone, height: int, width: int) -> ResolvedPoints:
    """Returns the numbers of a run on frames of one size: explicit settings first, then the preset, then the card.

    Raises:
        SettingsError: if the preset or the model has no such option.
    """
    card = backbone.card
    preset = get_point_preset(settings.preset or "points")
    given = {field.name: getattr(settings, field.name) for field in fields(settings)}
    chosen = {**preset.settings, **{name: value for name, value in given.items() if value is not None}}
    source: Source = chosen["source"]
    sites = card.sites.get("points", card.sites["track"])
    stride = sites[0].stride
    if settings.size is not None:
        input_size = backbone.input_size(height, width, size=(settings.size[1], settings.size[0]), fit=settings.fit)
    else:
        tokens = card.token_budget if settings.tokens is None else settings.tokens
        input_size = fit_size(height, width, tokens=tokens, stride=stride, multiple=backbone.multiple, fit=settings.fit)
    heads = chosen.get("heads")
    if heads is not None and not (heads and all(0 <= head < sites[0].heads for head in heads)):
        raise SettingsError(f"heads are {heads}, but the site has {sites[0].heads}; give numbers from 0 on")
    temperature = chosen.get("temperature")
    if temperature is None:
        temperature = card.temperatures.get(f"points, {source}", TEMPERATURES[source])
    # Colours and latents are of each frame by itself, whatever the model.
    chunk = card.chunk if source in ("attention", "features") else 1
    spare = bool(chosen["spare"]) and chunk > 2
    width_of_head = sites[0].heads if preset.scale == "heads" else sites[0].head_dim
    return ResolvedPoints(
        model=card.name,
        preset=preset.name,
        source=source,
        sites=sites,
        heads=heads,
        scale=(width_of_head**-0.5 if source == "attention" else 1.0) / temperature,
        combination=chosen["combination"],
        lookup=chosen["lookup"],
        decoding=chosen["decoding"],
        radius=chosen["radius"],
        power=chosen["power"],
        recent=chosen["recent"],
        reach=chosen["reach"],
        smoothing=chosen["smoothing"],
        cover=chosen["cover"],
        anchor=chosen["anchor"],
        spare=spare,
        chunk=chunk - spare,
        convention=preset.convention,
        candidates=CANDIDATES if chosen["smoothing"] > 0 and chosen["lookup"] == "descriptor" else 1,
        noising=_noising(card.noising, settings),
        input_size=input_size,
        grid=(input_size[0] // stride, input_size[1] // stride),
        batch=settings.batch,
        visible=settings.visible,
        dtype=str(backbone.dtype).removeprefix("torch."),
    )


def _noising(usual: Noising, settings: PointSettings) -> Noising:
    """Returns the card's way to the noise level, but for what the settings name."""
    timestep = usual.timestep if settings.timestep is None else settings.timestep
    steps = usual.steps_grid
    return replace(
        usual,
        kind=settings.noising or usual.kind,
        timestep=timestep,
        steps_grid=steps if steps and steps[-1] == timestep else inversion_steps(timestep),
        seed=settings.seed,
    )
