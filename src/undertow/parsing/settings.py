"""What a parser may be told, and how that and the model's card become the numbers one run uses."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from undertow.backbones import Backbone, Card, Noising, Site, inversion_steps
from undertow.base import SettingsError
from undertow.refinement.crf import CrfSettings
from undertow.refinement.guided import GuidedSettings

Quality = Literal["exact", "fast", "turbo"]
Method = Literal["vidseg", "propagate", "emerdiff"]
ClassifierName = Literal["knn", "mlp", "forest", "adaboost"]
Upsampling = Literal["guided", "bilinear"]


# Chosen on validation worlds (`benchmarks/sweep_parsing.py --places`).
PLACE = 5.0


@dataclass(frozen=True)
class ParseSettings:
    """Options of semantic segmentation; whatever is None is taken from the model's card.

    Args:
        quality: What makes pixels of the coarse labels: "turbo" upsamples their probabilities by the image, "fast" and
            "exact" read them out of the model by modulation.
        method: Where coarse labels come from: "vidseg" classifies tokens, "propagate" moves the labels of the anchors
            with the tracker's kernel, "emerdiff" clusters every frame by itself; None for "propagate" where there are
            anchors and "vidseg" where there are none. What is said of clusters, classifier, memory, discovery, places
            and agreement below concerns "vidseg".
        tokens: Number of tokens the frame is seen as at the model's tracking site.
        size: Model input as (width, height) in pixels instead.
        fit: "aspect" keeps the picture's shape; "squash" makes the input square.
        batch: Frames that are labelled together (the paper's B).
        clusters: Number of clusters of the first batch (the paper's K), or "auto" to find it.
        anchor_grid: Whether an anchor's tokens have the labels of the pixels they cover. Otherwise they have that of
            most of their cluster, as in the paper, which loses what is small.
        classifier: What labels tokens by those already labelled.
        neighbours: Of the KNN classifier.
        place: Weight of where a token lies, as shares of height and width, beside what it looks like; 0 in the papers.
            Without it, 0 for "emerdiff" and where there is no anchor, since clusters would be blobs; `PLACE` otherwise.
        memory: What later batches are labelled by: the tokens of the "previous" batch, as the paper does, or a "bank"
            of tokens of the whole video; tokens of anchors always count.
        bank_tokens: Most tokens in the bank, or taken over from the previous batch.
        discover: Whether tokens unlike all labelled ones make new clusters; without it, only if there is no anchor.
        novelty: How many times farther than is usual a token is from its neighbours if it is unlike them; the default
            is that of `benchmarks/parse_novelty.py` on validation worlds.
        refine: Whether labels are made agree along correspondences within the batch.
        tau: Most tokens that a correspondence moves between two frames, in y or x.
        voting: Weight of the labels that the frames before and after lend a frame along the model's own kernel; 0 for
            none.
        balance: How far classes that are small on the anchors are favoured: probabilities are divided by the class's
            share of their pixels to this power; 0 for the likeliest class. The default is best on validation worlds.
        upsampling: From tokens to pixels at quality "turbo".
        guided: Reach and scales of guided upsampling.
        crf: What a CRF over the pixels' probabilities is told; None for no CRF.
        modulation: Settings of the stage that quality "fast" or "exact" runs; None for its defaults.
        timestep: Noise level of the observed latents.
        noising: "noise", "invert" or "clean".
        direction: "both" labels frames before the first anchor too, from it backwards; "forward" leaves them void.
        probabilities: Whether results hold the probabilities of every pixel.
        seed: Of noise, clusters and bank.

    Raises:
        SettingsError: if a number is out of range or a word is unknown.
    """

    quality: Quality = "turbo"
    method: Method | None = None
    tokens: int | None = None
    size: tuple[int, int] | None = None
    fit: Literal["aspect", "squash"] = "aspect"
    batch: int = 14
    clusters: int | Literal["auto"] = 20
    anchor_grid: bool = True
    classifier: ClassifierName = "knn"
    neighbours: int = 4
    place: float | None = None
    memory: Literal["previous", "bank"] = "previous"
    bank_tokens: int = 8192
    discover: bool | None = None
    novelty: float = 1.6
    refine: bool = True
    tau: int = 1
    voting: float = 0.0
    balance: float = 0.2
    upsampling: Upsampling = "guided"
    guided: GuidedSettings = field(default_factory=GuidedSettings)
    crf: CrfSettings | None = None
    modulation: Any = None
    timestep: int | None = None
    noising: Literal["invert", "noise", "clean"] | None = None
    direction: Literal["both", "forward"] = "both"
    probabilities: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("tokens", 16), ("batch", 1), ("neighbours", 1), ("bank_tokens", 1), ("tau", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"{name} is {value}; give {least} or more")
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise SettingsError(f"{name} is {getattr(self, name)!r}; choose {', '.join(map(str, words))}")
        if self.clusters != "auto" and not (isinstance(self.clusters, int) and self.clusters >= 1):
            raise SettingsError(f"clusters is {self.clusters!r}; give 1 or more, or 'auto'")
        if self.timestep is not None and not 0 <= self.timestep < 1000:
            raise SettingsError(f"timestep is {self.timestep}; give 0 to 999")
        if self.size is not None and min(self.size) < 16:
            raise SettingsError(f"size is {self.size[0]}x{self.size[1]}; give at least 16x16 pixels")
        # So written that NaN is refused too.
        for name in ("voting", "balance"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; give 0 to 1")
        if not self.novelty > 0:
            raise SettingsError(f"novelty is {self.novelty}; give more than 0")
        for name in ("place", "seed"):
            if not (getattr(self, name) or 0) >= 0:
                raise SettingsError(f"{name} is {getattr(self, name)}; give 0 or more")


_WORDS: dict[str, tuple[Any, ...]] = {
    "quality": ("exact", "fast", "turbo"),
    "method": (None, "vidseg", "propagate", "emerdiff"),
    "classifier": ("knn", "mlp", "forest", "adaboost"),
    "memory": ("previous", "bank"),
    "upsampling": ("guided", "bilinear"),
    "direction": ("both", "forward"),
    "fit": ("aspect", "squash"),
    "noising": (None, "invert", "noise", "clean"),
}


@dataclass(frozen=True)
class ResolvedParse:
    """The numbers one run uses: everything that decides its result besides frames, anchors and weights.

    Attributes:
        settings: What was asked for.
        model: Name of the card.
        noising: The noise level at which tokens are read.
        sites: Self-attentions whose queries are the features.
        correspond: Self-attention whose queries correspondences are found by.
        place: Weight of where a token lies beside what it looks like.
        input_size: (height, width) in pixels the model is shown.
        grid: (height, width) in tokens.
        dtype: Number type of the weights.
    """

    settings: ParseSettings
    model: str
    noising: Noising
    sites: tuple[Site, ...]
    correspond: Site
    place: float
    input_size: tuple[int, int]
    grid: tuple[int, int]
    dtype: str

    def as_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain values for `run.json`."""
        return asdict(self)


def resolve_parse(
    settings: ParseSettings, backbone: Backbone, height: int, width: int, *, anchored: bool = True
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
        settings = replace(settings, method="propagate" if anchored else "vidseg")
    wanted = None if settings.size is None else (settings.size[1], settings.size[0])
    input_size = backbone.input_size(height, width, tokens=settings.tokens, size=wanted, fit=settings.fit)
    sites = card.sites.get("parse", card.sites["track"])
    matchers = card.sites.get("correspond", (sites[len(sites) // 2],))
    if settings.method == "emerdiff":
        sites = matchers = card.sites.get("emerdiff", sites)
    stride = sites[0].stride
    usual = PLACE if anchored and settings.method != "emerdiff" else 0.0
    return ResolvedParse(
        settings=settings,
        model=card.name,
        noising=_noising(settings, card),
        sites=sites,
        correspond=matchers[0],
        place=usual if settings.place is None else settings.place,
        input_size=input_size,
        grid=(input_size[0] // stride, input_size[1] // stride),
        dtype=str(backbone.dtype).removeprefix("torch."),
    )


def _noising(settings: ParseSettings, card: Card) -> Noising:
    """Returns the card's noise level for parsing with what the settings say of it."""
    usual = card.levels.get("parse", card.noising)
    if settings.method == "emerdiff":
        # EmerDiff reads at the least noise there is.
        usual = card.levels.get("emerdiff", replace(usual, timestep=1, steps_grid=(1,)))
    timestep = usual.timestep if settings.timestep is None else settings.timestep
    grid = usual.steps_grid
    return replace(
        usual,
        kind=settings.noising or usual.kind,
        timestep=timestep,
        steps_grid=grid if grid and grid[-1] == timestep else inversion_steps(timestep),
        seed=settings.seed,
    )
