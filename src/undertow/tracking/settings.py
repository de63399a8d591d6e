"""Options of mask tracking, and how they and the model's card become the numbers one run uses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from undertow.affinity import KernelSettings, Preset, get_preset
from undertow.base import SettingsError, option
from undertow.observing.settings import FrameSettings, ResolvedFrames, resolve_frames
from undertow.tracking.published import PUBLISHED, FirstLabels

if TYPE_CHECKING:
    from undertow.backbones import Backbone, Card, Conditioning
    from undertow.observing.cache import Cache
    from undertow.observing.observer import Observer
    from undertow.observing.store import TensorStore


@dataclass(frozen=True)
class TrackSettings(FrameSettings):
    """Options of mask tracking; None means the value of the model's card or of the preset.

        ut.track("clip.mp4", mask="first.png", settings=TrackSettings(preset="dift", tokens=8160))

    Raises:
        SettingsError: if a value is out of range or unknown.
    """

    preset: str | None = option(None, "Way to propagate, such as drift, dift, dino or pixels.")
    published: bool = option(
        False,
        "Use the settings of the preset's paper and code instead of the card's: site, noise, size, window, "
        "references, labels. Other options still apply.",
        expert=True,
    )
    temperature: float | None = option(None, "Divisor of the similarities.", expert=True, above=0)
    radius: int | None = option(
        None,
        "Half side of the window in tokens of the run's grid; by default the card's radius, scaled to the grid.",
        expert=True,
        least=0,
    )
    topk: int | None = option(None, "Number of weights kept per token.", expert=True, least=1)
    recent: int | None = option(None, "Number of previous frames kept beside the anchors.", expert=True, least=0)
    share: float | None = option(
        None,
        "Weight of further models in the kernel, as in --model tiny+tiny-video; half by default.",
        expert=True,
        least=0,
        most=1,
    )
    softmax_scope: Literal["reference", "window", "joint", "none", "survivors"] | None = option(
        None, "What the softmax runs over; window is fast.", expert=True
    )
    direction: Literal["forward", "both"] = option(
        "both",
        "Direction in which given masks are carried; with both, also back to the start of the clip, and "
        "between two masks of an object both results are merged.",
        expert=True,
    )
    correct_back: bool = option(
        False,
        "A mask that corrects a complete run also changes the frames before it, back to the previous given mask.",
        expert=True,
        decides=False,
    )
    padded: bool | None = option(
        None, "Whether the first frame stands in for missing recent frames, as in CRW.", expert=True
    )
    ensemble: int | None = option(
        None, "Draws of noise (noising noise) to average features over, as in DIFT.", expert=True, least=1
    )
    first_labels: FirstLabels | None = option(
        None,
        "How a given mask is resized to the grid: by exact area averages (the default), as the nearest pixel, or "
        "between four (bilinear).",
        expert=True,
    )
    channel_norm: Literal["none", "minmax"] | None = option(
        None,
        "Whether each channel is stretched before the argmax (minmax), as DINO's evaluation does; none by default.",
        expert=True,
    )
    lost: Literal["empty", "keep"] | None = option(
        None,
        "What happens to a lost object; empty gives it no pixels, does not use the frame as a reference for it, "
        "and matches its anchor anywhere; keep only reports it. By default empty for presets for which the presence "
        "was calibrated.",
    )
    mask_colors: bool = option(False, "Masks are RGB-coded.", expert=True, decides=False)
    mask_threshold: int | None = option(
        None,
        "Pixels of at least this brightness, 1 to 255, are objects.",
        expert=True,
        decides=False,
        least=1,
        most=255,
    )
    soft: bool = option(False, "Masks are mattes; keep their soft edges.", expert=True, decides=False)
    refine: Literal["none", "guided", "crf", "sam"] = option("none", "Refine masks after propagation.")
    segmenter: str | None = option(
        None,
        "Model that makes masks of boxes and points, such as sam-vit-b; GrabCut if not given. A folder can be given "
        "too. It is also the model of refine sam; tiny-sam is that only.",
    )
    gate: float | None = option(
        None,
        "Use the mask of refine sam if its overlap with the soft mask is at least this share of the propagated mask's "
        "own overlap; 0 always uses it.",
        expert=True,
        least=0,
        most=1,
    )
    keep_soft: bool = option(False, "Keep each frame's soft masks in soft/, for mattes.", expert=True)
    feed_back: bool = option(False, "Continue from the masks of refine sam instead of the tracker's.", expert=True)
    tuning: Literal["off", "paper", "fast", "prompt", "amortised"] = option(
        "off", "Learn conditioning and head weights first."
    )
    class_name: str | None = option(None, "Name of the object, as the text to condition on.", expert=True)
    caption: str | None = option(None, "Sentence to condition on.", expert=True)
    captioner: Path | None = option(
        None, "Folder of a BLIP-2 model that captions each object, as the text to condition on.", expert=True
    )
    conditioning: Path | None = option(None, "Kernel file to condition on.", expert=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.feed_back and self.refine != "sam":
            raise SettingsError(f"feed_back goes with refine sam, not with {self.refine}; leave it out")
        if self.correct_back and self.direction == "forward":
            raise SettingsError("correct_back carries a mask back, which direction forward rules out; leave one out")
        if self.soft and (self.mask_colors or self.mask_threshold is not None):
            raise SettingsError("mattes are read by soft alone; leave mask_colors and mask_threshold out")
        if self.keep_soft and self.refine != "none":
            raise SettingsError(f"keep_soft keeps what refine {self.refine} replaces; leave one of them out")

    def of(self, card: "Card") -> "TrackSettings":
        """Returns the settings with published values filled in if `published` is set; explicit values stay.

        Raises:
            SettingsError: if no settings were published for the preset with the card's model.
        """
        if not self.published:
            return self
        from undertow.backbones import list_cards

        preset, known = get_preset(self.preset or card.preset), card.published
        if preset.name not in known:
            others = ", ".join(each.name for each in list_cards() if preset.name in each.published) or "another"
            having = f"it has those of {', '.join(known)}" if known else f"give --model {others}"
            raise SettingsError(f"'{card.name}' has no published numbers of preset '{preset.name}'; {having}")
        kernel, code = preset.kernel, PUBLISHED[preset.name]
        numbers: dict[str, Any] = {
            "temperature": kernel.temperature, "radius": kernel.radius, "topk": kernel.topk, "recent": preset.recent,
            "padded": code.padded, "first_labels": code.first_labels, "channel_norm": code.channel_norm,
            "gate": code.gate, "lost": "keep",
        }  # fmt: skip
        return replace(self, **{name: value for name, value in numbers.items() if getattr(self, name) is None})

    @property
    def tuned(self) -> bool:
        """Whether each object gets a kernel of its own."""
        begins = (self.class_name, self.caption, self.captioner, self.conditioning)
        return self.tuning != "off" or any(each is not None for each in begins)


@dataclass(frozen=True)
class ResolvedPartner(ResolvedFrames):
    """The numbers of a further model of a fusion."""

    temperature: float


@dataclass(frozen=True)
class ResolvedSettings(ResolvedFrames):
    """The numbers one run uses: everything that decides its result besides the frames, the cues and the weights.

    Of its own are `directions`: how many of a model's principal directions its hidden states are compared in; 0 for
    hidden states as they are.
    """

    preset: Preset
    kernel: KernelSettings
    recent: int
    direction: Literal["forward", "both"]
    padded: bool
    first_labels: FirstLabels
    channel_norm: Literal["none", "minmax"]
    lost: Literal["empty", "keep"]
    partners: tuple[ResolvedPartner, ...] = ()
    share: float = 0.0
    keep_soft: bool = False
    directions: int = 0


def resolve(
    settings: TrackSettings, backbone: "Backbone", height: int, width: int, *, tuned: bool = False
) -> ResolvedSettings:
    """Returns the numbers of a run on frames of one size: explicit settings first, then the card, then the preset.

    A card's window radius was chosen on its own grid, so it is scaled by the square root of the number of tokens.

    Args:
        settings: What was asked for.
        backbone: The model.
        height: Of the frames.
        width: Of the frames.
        tuned: Whether kernels are tuned: the card may name sites that the text reaches, only attention has a kernel
            to tune, so that the usual preset is drift then, and presence was calibrated without.

    Raises:
        SettingsError: if the preset or model has no such option.
    """
    card = backbone.card
    settings, shown = settings.of(card), None
    preset = get_preset(settings.preset or ("drift" if tuned else card.preset))
    # Hidden states and attention need not be best at the same depth.
    purposes = ["tuning"] * tuned + ["features"] * (preset.source == "features")
    if settings.published:
        purposes.insert(0, preset.name)
        patch = card.sites["track"][0].stride
        shown = PUBLISHED[preset.name].input_size(height, width, patch, backbone.multiple)
        settings = replace(settings, fit="squash") if shown is None else settings
    frames = resolve_frames(settings, backbone, height, width, *purposes, "track", shown=shown, several=True)
    if preset.source == "features":
        # What a card names for attention may be several.
        frames = replace(frames, sites=frames.sites[-1:])
    if settings.ensemble is not None:
        frames = replace(frames, noising=replace(frames.noising, ensemble=settings.ensemble))
    kernel = preset.kernel
    if settings.softmax_scope is not None:
        kernel = replace(kernel, softmax_scope=settings.softmax_scope)
    usual = card.temperatures.get(preset.name, kernel.temperature)
    if tuned:
        usual = card.temperatures.get(f"{preset.name}, tuned", usual)
    temperature = usual if settings.temperature is None else settings.temperature
    radius = settings.radius
    if radius is None:
        scale = (frames.grid[0] * frames.grid[1] / (card.window_grid[0] * card.window_grid[1])) ** 0.5
        radius = max(1, round(card.window_radius * scale))
    kernel = replace(
        kernel, temperature=temperature, radius=radius, topk=card.topk if settings.topk is None else settings.topk
    )
    # Who follows tokens also sees frames of long ago, and needs fewer of the last ones.
    usual_recent = preset.recent if preset.motion else card.recent
    partners = tuple(_partner(each, settings, preset, frames, purposes) for each in backbone.partners)
    calibrated = preset.name in card.calibrated and not tuned and not partners
    return ResolvedSettings(
        **vars(frames),
        preset=preset,
        kernel=kernel,
        recent=usual_recent if settings.recent is None else settings.recent,
        direction=settings.direction,
        padded=bool(settings.padded),
        first_labels=settings.first_labels or "area",
        channel_norm=settings.channel_norm or "none",
        lost=settings.lost or ("empty" if calibrated else "keep"),
        partners=partners,
        share=(0.5 if settings.share is None else settings.share) if partners else 0.0,
        keep_soft=settings.keep_soft,
        directions=backbone.projection.shape[1] if preset.motion and backbone.projection is not None else 0,
    )


def _partner(
    backbone: "Backbone",
    settings: TrackSettings,
    preset: Preset,
    frames: ResolvedFrames,
    purposes: Sequence[str],
) -> ResolvedPartner:
    """Returns the numbers by which a further model sees the first one's grid."""
    if preset.source in ("pixels", "latents"):
        raise SettingsError(f"preset '{preset.name}' compares nothing that a second model sees; give one model")
    if settings.tuned:
        raise SettingsError(f"what '{backbone.card.name}' sees beside another model cannot be tuned; give one model")
    stride = resolve_frames(FrameSettings(), backbone, *frames.input_size, *purposes).sites[0].stride
    shown = frames.grid[0] * stride, frames.grid[1] * stride
    own = FrameSettings(size=shown[::-1], batch=frames.batch, seed=settings.seed)
    resolved = resolve_frames(own, backbone, *shown, *purposes)
    temperature = backbone.card.temperatures.get(preset.name, preset.kernel.temperature)
    if preset.source == "features":
        resolved = replace(resolved, sites=resolved.sites[-1:])
    return ResolvedPartner(**vars(resolved), temperature=temperature)


def observer_of(
    backbone: "Backbone",
    resolved: ResolvedSettings,
    conditionings: "Sequence[Conditioning]" = (),
    store: "TensorStore | None" = None,
    cache: "Cache | None" = None,
) -> "Observer":
    """Returns what shows a model the frames of a run; see `Observer`."""
    from undertow.observing.observer import Observer

    source, projection = resolved.preset.source, backbone.projection if resolved.directions else None
    if resolved.partners:
        from undertow.tracking.fusion import FusedObserver

        # A store knows frames by their numbers, so each model would need one of its own.
        pairs = zip(backbone.partners, resolved.partners, strict=True)
        partners = [Observer(each, own, source, cache=cache) for each, own in pairs]
        shown = {"projection": projection, "store": store, "cache": cache}
        return FusedObserver(backbone, resolved, source, **shown, partners=partners, fused=resolved)
    return Observer(
        backbone, resolved, source, projection=projection, conditionings=conditionings, store=store, cache=cache
    )
