"""Options of parsing, and how they and the model's card become the numbers one run uses."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from undertow.backbones import Noising, Site
from undertow.base import SettingsError, option, options_of
from undertow.observing.settings import FrameSettings, ResolvedFrames, resolve_frames
from undertow.refinement.settings import CrfSettings, GuidedSettings

if TYPE_CHECKING:
    from undertow.backbones import Backbone

Quality = Literal["exact", "turbo"]
Method = Literal["vidseg", "propagate", "emerdiff"]
Upsampling = Literal["guided", "bilinear"]


# Chosen on validation worlds (`benchmarks/quality/sweep_parsing.py --places`).
PLACE = 5.0
# As many as the palette of class maps has ids: each has a map of every pixel, and time grows with their number.
MOST_CLUSTERS = 255


@dataclass(frozen=True)
class Modulation:
    """How labels are pushed, and how the answer is read.

    Attributes:
        steps: Timesteps of the sampler, falling; the push happens at the first (the paper's t_m). After the last
            one the latents are clean.
        strength: The number added (the paper's λ), once with each sign.
        sites: Attentions whose outputs are pushed, of one transformer; `None` for the card's.
        inject: Kinds of attention after the push that keep the queries and keys of the frames as they are.
        guidance: Weight of the conditioning over none; two numbers rise over the frames of a clip. 1 asks the model
            once per forward instead of twice.
        noising: Way to the noise level of the first step: "noise" or "invert".
        seed: Of the noise.
        blended: Steps after which latents outside of the coarse mask are put back to the frames'; `None` for all.
        blur: Size in pixels and standard deviation of the Gaussian over difference maps.
        normalised: Whether each map is divided by its largest value.
        outside: How much of a map counts outside of its coarse mask (the paper's s); 1 for all.
        memory: Bytes that the forwards of one call may take.

    Raises:
        SettingsError: if a number is out of range.
    """

    steps: tuple[int, ...] = (119, 79, 39)
    strength: float = 50.0
    sites: tuple[Site, ...] | None = None
    inject: tuple[str, ...] = ("self", "cross", "temporal")
    guidance: float | tuple[float, float] = 1.0
    noising: Literal["noise", "invert"] = "noise"
    seed: int = 0
    blended: int | None = 2
    blur: tuple[int, float] = (5, 3.0)
    normalised: bool = True
    outside: float = 0.7
    memory: int = 2 << 30

    def __post_init__(self) -> None:
        if not self.steps or any(a <= b for a, b in zip(self.steps, self.steps[1:], strict=False)):
            raise SettingsError(f"the steps {self.steps} do not fall; give timesteps from high to low")
        if self.steps[-1] < 0 or not self.strength > 0 or not 0 <= self.outside <= 1 or self.memory < 1:
            raise SettingsError("steps start at 0, the strength is above 0, `outside` in 0 to 1, and memory above 0")
        if self.noising not in ("noise", "invert") or self.blur[0] < 1 or not self.blur[1] > 0:
            raise SettingsError("modulation is given latents by 'noise' or 'invert', and a blur of 1 pixel or more")

    def level(self) -> Noising:
        """Returns the way to the first step; an inversion visits the sampler's own steps upwards."""
        first = self.steps[0]
        rising = tuple(step for step in sampling_steps()[::-1] if step < first)
        return Noising(self.noising, first, (*rising, first), label="source", seed=self.seed)


def sampling_steps(count: int = 25, total: int = 1000) -> tuple[int, ...]:
    """Returns the timesteps of VidSeg's sampler, falling: 999, 959, ..., 119, 79, 39 of 1000.

    One Euler step of its sigmas between two of them is a DDIM step.
    """
    return tuple(int(total - 1 - place * (total - 1) / count) for place in range(count))


@dataclass(frozen=True)
class ParseSettings(FrameSettings):
    """Options of semantic segmentation; None means the value of the model's card.

        ut.parse("clip.mp4", settings=ParseSettings(clusters=12))

    Raises:
        SettingsError: if a value is out of range or unknown.
    """

    batch: int = option(14, "Frames labelled together.", least=1)
    quality: Quality = option(
        "turbo",
        "How pixels get labels from tokens; turbo upsamples probabilities along the image, exact reads them from the "
        "model by modulation.",
    )
    method: Method | None = option(
        None,
        "How tokens get their labels; propagate carries those of the anchors with the tracker's kernel, the default "
        "where there are anchors; vidseg classifies tokens, the default elsewhere and where an option is given that "
        "only vidseg has; emerdiff clusters every frame by itself.",
    )
    clusters: int = option(
        20,
        "Number of clusters; vidseg makes those of the first batch. Anchors take their place, but for emerdiff and "
        "without anchor_grid.",
        least=1,
        most=MOST_CLUSTERS,
    )
    anchor_grid: bool = option(
        True,
        "Whether an anchor's tokens have the labels of the pixels they cover, or the majority label of their cluster, "
        "which loses small objects (vidseg).",
        expert=True,
    )
    neighbours: int = option(
        4, "Number of nearest labelled tokens whose mean label a token gets (vidseg).", expert=True, least=1
    )
    place: float | None = option(
        None,
        "Weight of a token's position, as shares of height and width, beside its appearance; 0 in the papers, and "
        "by default for emerdiff and without anchors (vidseg).",
        expert=True,
        least=0,
    )
    carried_tokens: int = option(
        8192,
        "Largest number of tokens of the previous batch that label the next one, beside the anchors' (vidseg).",
        expert=True,
        least=1,
    )
    discover: bool | None = option(
        None, "Make clusters of tokens unlike all labelled ones (vidseg); by default only without anchors."
    )
    novelty: float = option(
        1.6,
        "How many times the usual distance from its neighbours makes a token unlike them (vidseg).",
        expert=True,
        above=0,
    )
    agree: bool = option(True, "Whether labels agree along correspondences within the batch (vidseg).", expert=True)
    tau: int = option(
        1, "Largest motion of a correspondence between two frames, in tokens, in y or x.", expert=True, least=0
    )
    balance: float = option(
        0.2,
        "How much small classes are favoured: probabilities are divided by the class's share of the anchors' "
        "pixels to this power; 0 for the likeliest class.",
        expert=True,
        least=0,
        most=1,
    )
    upsampling: Upsampling = option("guided", "From tokens to pixels at quality turbo.", expert=True)
    guided: GuidedSettings = option(GuidedSettings, "Reach and scales of guided upsampling.", expert=True)
    crf: CrfSettings | None = option(None, "Apply a CRF to the pixels.")
    modulation: Modulation | None = option(
        None, "A whole Modulation for quality exact, in place of the method's and model's.", expert=True
    )
    push_steps: tuple[int, ...] | None = option(
        None, "Timesteps of the sampler, falling; labels are modulated at the first.", expert=True, least=0, most=999
    )
    push_strength: float | None = option(
        None, "Value to add at a label's tokens, once with each sign.", expert=True, above=0
    )
    guidance: float | tuple[float, float] | None = option(
        None, "Guidance scale; with two numbers it rises over a clip.", expert=True
    )
    blended: int | None = option(
        None, "Steps after which latents outside the coarse mask are restored.", expert=True, least=0
    )
    blur: tuple[int, float] | None = option(
        None, "Size in pixels and standard deviation of the Gaussian over difference maps.", expert=True, above=0
    )
    outside: float | None = option(
        None, "Weight of a difference map outside its coarse mask.", expert=True, least=0, most=1
    )
    direction: Literal["both", "forward"] = option(
        "both",
        "Whether frames before the first anchor are labelled from it backwards (both), or left void.",
        expert=True,
    )
    keep_soft: bool = option(False, "Keep the probabilities of every pixel in soft/.", expert=True)
    names: Path | None = option(None, "JSON file of the names of ids.", decides=False)
    namer: Path | None = option(None, "Folder of a CLIP model that names clusters.", decides=False)
    vocabulary: Path | None = option(None, "File of the words to choose from, one per line.", decides=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.namer is None) != (self.vocabulary is None):
            raise SettingsError("clusters are named by namer FOLDER and vocabulary FILE together; give both")


@dataclass(frozen=True)
class ResolvedParse(ResolvedFrames):
    """The numbers one run uses: everything that decides its result besides frames, anchors and weights.

    Attributes:
        settings: What was asked for.
        correspond: Self-attention whose queries correspondences are found by.
        place: Weight of where a token lies beside what it looks like.
    """

    settings: ParseSettings
    correspond: Site
    place: float

    def as_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain values for `run.json`, those that decide nothing left out."""
        numbers = super().as_dict()
        for each in options_of(ParseSettings):
            if not each.decides:
                del numbers["settings"][each.name]
        return numbers


def resolve_parse(
    settings: ParseSettings, backbone: "Backbone", height: int, width: int, *, anchored: bool = True
) -> ResolvedParse:
    """Returns the numbers of a run on frames of one size: explicit settings first, then the model's card.

    Args:
        settings: What was asked for.
        backbone: The model.
        height: Of the frames.
        width: Of the frames.
        anchored: Whether there are anchors.

    Raises:
        SettingsError: if the model has no such size.
    """
    card = backbone.card
    if settings.method is None:
        settings = replace(settings, method=_usual_method(settings, anchored=anchored))
    if settings.method == "emerdiff":
        # EmerDiff reads at the least noise there is.
        usual = card.levels.get("parse", card.noising)
        level = card.levels.get("emerdiff", replace(usual, timestep=1, steps_grid=(1,)))
        frames = resolve_frames(settings, backbone, height, width, "emerdiff", "parse", level=level)
        matchers, place = frames.sites, 0.0
    else:
        frames = resolve_frames(settings, backbone, height, width, "parse")
        matchers = card.sites.get("correspond", (frames.sites[len(frames.sites) // 2],))
        place = PLACE if anchored else 0.0
    return ResolvedParse(
        **vars(frames),
        settings=settings,
        correspond=matchers[0],
        place=place if settings.place is None else settings.place,
    )


def makes_clusters(settings: ParseSettings, *, anchored: bool) -> bool:
    """Returns whether a run makes clusters: where anchors say what tokens are, it mostly does not."""
    method = settings.method or _usual_method(settings, anchored=anchored)
    return not anchored or method == "emerdiff" or (method == "vidseg" and not settings.anchor_grid)


def _usual_method(settings: ParseSettings, *, anchored: bool) -> Method:
    """Returns the method of a run for which none is chosen."""
    if not anchored:
        return "vidseg"
    # Something is asked for that only vidseg has: how tokens are classified.
    own = {"discover", "novelty", "place", "agree"} | (set() if settings.anchor_grid else {"clusters"})
    asked = any(getattr(settings, each.name) != each.default for each in options_of(ParseSettings) if each.name in own)
    return "vidseg" if asked else "propagate"
