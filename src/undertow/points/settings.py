"""Options of point tracking, presets, and how these and the model's card become the numbers of one run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from undertow.base import SettingsError, option
from undertow.observing.settings import FrameSettings, ResolvedFrames, Source, resolve_frames

if TYPE_CHECKING:
    from undertow.backbones import Backbone, Card

Combination = Literal["forward", "mean", "product"]
Lookup = Literal["descriptor", "matches"]
Decoding = Literal["token", "window", "parabola"]
Anchor = Literal["query", "first"]
Convention = Literal["centre", "corner"]
Cover = Literal["minimal", "overlap", "consecutive"]


@dataclass(frozen=True)
class PointSettings(FrameSettings):
    """Options of point tracking; None means the value of the preset or of the model's card.

        ut.track_points("clip.mp4", points, settings=PointSettings(tokens=3600))

    Raises:
        SettingsError: if a value is out of range or unknown.
    """

    preset: str | None = option(
        None,
        "Way to follow points: flow (optical flow, corrected by matches; the default where it was measured), or "
        "matches alone by points, difftrack, dift, latents or pixels.",
    )
    source: Source | None = option(
        None,
        "What to compare: queries with keys (attention), hidden states (features), or 3 x 3 patches of latents or "
        "pixels.",
        expert=True,
    )
    heads: tuple[int, ...] | None = option(None, "Heads of the site to use; all by default.", expert=True, least=0)
    temperature: float | None = option(None, "Divisor of the similarities.", expert=True, above=0)
    combination: Combination | None = option(
        None,
        "Softmax to use: the one over the other frame (forward), its mean with that over the point's own frame, "
        "or their product.",
        expert=True,
    )
    lookup: Lookup | None = option(
        None,
        "A point between tokens is matched by its interpolated descriptor, or is put at the mean of the matches of the "
        "four tokens around it.",
        expert=True,
    )
    decoding: Decoding | None = option(
        None,
        "The position is the best token, a mean over the window around it, or the peak of a parabola through it.",
        expert=True,
    )
    radius: int | None = option(None, "Radius of that window, in tokens.", expert=True, least=0)
    power: float | None = option(None, "Power of the window's weights.", expert=True, above=0)
    recent: float | None = option(
        None,
        "Weight of the match with the previous frame, beside that with the query's frame.",
        expert=True,
        least=0,
        most=1,
    )
    reach: int | None = option(
        None,
        "Largest distance of the match with the previous frame from the last position, in tokens.",
        expert=True,
        least=1,
    )
    smoothing: float | None = option(
        None,
        "Cost of a jump by one token, in paths through each frame's best places; 0 treats each frame alone.",
        expert=True,
        least=0,
    )
    cover: Cover | None = option(
        None,
        "How a video model's chunks cover the video: as few as possible (minimal), overlapping as published (overlap), "
        "or of neighbouring frames (consecutive).",
        expert=True,
    )
    anchor: Anchor | None = option(
        None,
        "First frame of a video model's chunks: the frame of each query, which takes a pass for every frame that "
        "has queries, or the first of the video.",
        expert=True,
    )
    spare: bool | None = option(
        None,
        "Whether a video model's chunks begin with one more copy of their first frame, which is not read: in some "
        "models all tokens attend to a place in the first frame, and this keeps it out of the matches.",
        expert=True,
    )
    flow: bool | None = option(
        None,
        "Whether optical flow carries points from frame to frame and matches correct it; recent and smoothing have no "
        "effect then.",
        expert=True,
    )
    visible: float = option(0.5, "Confidence from which a point counts as visible.", expert=True, least=0, most=1)
    mask_colors: bool = option(False, "Masks are RGB-coded.", decides=False)
    feature_memory: int = option(
        1024, "Megabytes of features in memory; the rest goes to disk.", expert=True, decides=False, least=1
    )
    keep_features: bool = option(
        False, "Keep the features of the network, so that adding points is fast.", decides=False
    )


@dataclass(frozen=True)
class PointPreset:
    """A way to match: the options it fixes, which explicit settings may still replace.

    Attributes:
        name: What users call it.
        about: One sentence.
        settings: The options.
        convention: Whether token (i, j) stands for the "centre" of its cell, or for its top-left "corner" as in
            DiffTrack's code.
        scale: What logits are divided by, beside the temperature: the root of the "head dim" as in attention, or of the
            number of "heads" as in DiffTrack's tracking code; nothing for other sources than attention.
        squashed: Whether frames of a video transformer are shown at the size that its numbers were published for,
            whatever their shape, unless another is asked for.
    """

    name: str
    about: str
    settings: Mapping[str, Any]
    convention: Convention = "centre"
    scale: Literal["head dim", "heads"] = "head dim"
    squashed: bool = False


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
    "flow": False,
}

PRESETS: dict[str, PointPreset] = {
    preset.name: preset
    for preset in (
        PointPreset("points", "attention of the card's site, with every improvement that was measured to help", _OURS),
        PointPreset(
            "flow", "optical flow carries points, and matches of `points` bring them back", _OURS | {"flow": True}
        ),
        PointPreset(
            "difftrack",
            "the published procedure (arXiv 2506.17220, reference code) with its quirks",
            _OURS
            | {"combination": "mean", "lookup": "matches", "decoding": "token", "cover": "overlap", "temperature": 1.0}
            | {"recent": 0.0, "smoothing": 0.0, "anchor": "query"},
            convention="corner",
            scale="heads",
            squashed=True,
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
class ResolvedPoints(ResolvedFrames):
    """The numbers one run uses: all that decides its result besides frames, queries and weights."""

    preset: str
    source: Source
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
    flow: bool
    visible: float


def usual_preset(card: "Card") -> str:
    """Returns the preset that a model follows points by: flow where its odds were fitted to the model's matches."""
    return "flow" if "flow" in card.calibrated else "points"


def resolve_points(settings: PointSettings, backbone: "Backbone", height: int, width: int) -> ResolvedPoints:
    """Returns the numbers of a run on frames of one size: explicit settings first, then the preset, then the card.

    Raises:
        SettingsError: if the preset or the model has no such option.
    """
    card = backbone.card
    preset = get_point_preset(settings.preset or usual_preset(card))
    chosen = {**preset.settings, **{name: value for name, value in vars(settings).items() if value is not None}}
    source: Source = chosen["source"]
    given = settings.tokens is not None or settings.size is not None or settings.detail != "normal"
    if preset.squashed and card.family == "dit" and not given:
        stride, (rows, columns) = card.places("points")[0].stride, card.window_grid
        settings = replace(settings, size=(columns * stride, rows * stride))
    frames = resolve_frames(settings, backbone, height, width, "points")
    site = frames.sites[0]
    if source == "attention" and len({(each.heads, each.head_dim) for each in frames.sites}) > 1:
        raise SettingsError("the sites of points have different heads, so that their logits cannot be added; give one")
    heads = chosen.get("heads")
    if heads is not None and not (heads and all(0 <= head < site.heads for head in heads)):
        raise SettingsError(f"heads are {heads}, but the site has {site.heads}; give numbers from 0 on")
    temperature = chosen.get("temperature")
    if temperature is None:
        temperature = card.temperatures.get(f"points, {source}", TEMPERATURES[source])
    # Colours and latents are of each frame by itself, whatever the model.
    chunk = card.chunk if source in ("attention", "features") else 1
    spare = bool(chosen["spare"]) and chunk > 2
    width_of_head = site.heads if preset.scale == "heads" else site.head_dim
    taken = (
        "combination",
        "lookup",
        "decoding",
        "radius",
        "power",
        "recent",
        "reach",
        "smoothing",
        "cover",
        "anchor",
        "flow",
    )
    return ResolvedPoints(
        **vars(frames),
        **{name: chosen[name] for name in taken},
        preset=preset.name,
        source=source,
        heads=heads,
        scale=(width_of_head**-0.5 if source == "attention" else 1.0) / temperature,
        spare=spare,
        chunk=chunk - spare,
        convention=preset.convention,
        candidates=CANDIDATES if chosen["smoothing"] > 0 and chosen["lookup"] == "descriptor" else 1,
        visible=settings.visible,
    )
