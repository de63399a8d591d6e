"""What an ablation compares, declared: a variant is the default with something changed, an ablation a list of these.

Sources: DRIFT (Kim et al. 2025, arXiv 2511.19936), tables 1, 2, 4, 5, 7 and figures 3, 4, 5, 7.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from undertow.backbones import Card, Noising, Site, inversion_steps
from undertow.refinement import SamSettings
from undertow.tracking import TrackSettings
from undertow.tracking.tuning import TuningSettings, get_tuning

Text = Literal["null", "class", "caption"]

# Inversion in steps of 20 is the paper's; to high noise levels a few longer ones have to do, or it is all there is.
MOST_STEPS = 6


@dataclass(frozen=True)
class Variant:
    """One way to track.

    Attributes:
        name: Names its folder.
        title: Names its row.
        settings: Tracking options.
        noising: The way to the noise level, if not the card's.
        sites: Where to look, if not where the card says, and then at which temperature.
        temperature: See `sites`.
        text: What the model is conditioned on at the card's tuning site; `None` for tracking without tuning.
        tuning: How conditioning and head weights are learned from there; `None` for not at all.
        refine: What makes better masks of the tracked ones: "none", "guided", "crf" or "sam".
        sam: For "sam", how many prompts of how many points; how else, the segmenter's card says.
    """

    name: str
    title: str
    settings: TrackSettings = field(default_factory=TrackSettings)
    noising: Noising | None = None
    sites: tuple[Site, ...] = ()
    temperature: float | None = None
    text: Text | None = None
    tuning: TuningSettings | None = None
    refine: str = "none"
    sam: SamSettings = field(default_factory=SamSettings)

    def card(self, card: Card) -> Card:
        """Returns a model's card with what this variant changes of it."""
        if self.noising is not None:
            card = replace(card, noising=self.noising)
        if self.sites:
            kinds = ("track", "tuning", "features")
            card = replace(card, sites={**card.sites, **dict.fromkeys(kinds, self.sites)})
        if self.temperature is not None:
            hot = {name: self.temperature for name in ("drift", "drift, tuned")}
            card = replace(card, temperatures={**card.temperatures, **hot})
        return card

    def facts(self) -> dict[str, Any]:
        """Returns everything that decides the results besides model and data, as plain values."""
        facts = asdict(self)
        for name in ("name", "title", *(("sam",) if self.refine != "sam" else ())):
            del facts[name]
        return facts


@dataclass(frozen=True)
class Ablation:
    """Variants that belong into one table or chart; the first is what the others are compared with.

    Attributes:
        name: What `--only` takes.
        title: Its heading.
        paper: Which table or figure of the paper it repeats.
        variants: What is compared.
        kind: How it is shown: rows of scores, curves over time or over the timestep, a grid of prompts, or seconds.
    """

    name: str
    title: str
    paper: str
    variants: tuple[Variant, ...]
    kind: Literal["rows", "curves", "timesteps", "grid", "seconds"] = "rows"


@dataclass(frozen=True)
class Scale:
    """How much an ablation measures.

    Attributes:
        timesteps: Given to the network in the curves of the first frame alone.
        points: Points of a prompt (the paper's n), in the grid.
        prompts: Prompts of an object (the paper's p).
        tuning_steps: Steps of tuning at most, for trials; `None` for the presets' own.
    """

    timesteps: tuple[int, ...] = (1, 21, 41, 81, 201, 401)
    points: tuple[int, ...] = (1, 2, 3, 5)
    prompts: tuple[int, ...] = (1, 5, 10, 20, 40, 80)
    tuning_steps: int | None = None


DEFAULT = Variant("default", "default")
NOISINGS = {"clean": "clean latents", "noise": "random noise", "invert": "DDIM inversion"}


def make_ablations(card: Card, scale: Scale | None = None) -> dict[str, Ablation]:
    """Returns every ablation of a model, by name, in the paper's order.

    Args:
        card: Of the model.
        scale: How much to measure.
    """
    scale = scale or Scale()
    every = (
        _conditioning(scale),
        _heads(card, scale),
        _components(card),
        _runtime(card, scale),
        _refiners(),
        _attention(card),
        _noising(card, scale),
        _prompts(scale),
    )
    return {ablation.name: ablation for ablation in every}


def level(card: Card, kind: Literal["invert", "noise", "clean"], timestep: int, most: int = MOST_STEPS) -> Noising:
    """Returns a way to a noise level: inversion in steps of 20, or in `most` longer ones if these would be more."""
    steps = inversion_steps(timestep)
    if len(steps) > most:
        steps = tuple(round(timestep * (n + 1) / most) for n in range(most))
    return replace(card.noising, kind=kind, timestep=timestep, steps_grid=steps)


def _conditioning(scale: Scale) -> Ablation:
    """Returns the paper's table 1: what stands in the place of the text."""
    fast, paper = _tuning("fast", scale, "tensor"), _tuning("paper", scale, "tensor")
    others = replace(fast, exclude_self=True)
    return Ablation(
        "conditioning",
        "What the model is conditioned on",
        "table 1",
        (
            Variant("text-null", "null text", text="null"),
            Variant("text-class", "class name", text="class"),
            Variant("text-caption", "caption", text="caption"),
            _learned("learned-fast", f"learned, fast, at most {fast.steps} steps", fast),
            _learned("learned-fast-others", "learned, fast, self left out", others),
            _learned("learned-paper", f"learned, paper, {paper.steps} steps", paper),
        ),
    )


def _heads(card: Card, scale: Scale) -> Ablation:
    """Returns the paper's table 2: weights of the heads."""
    sites, temperature = head_sites(card)
    fast = _tuning("fast", scale, "heads")
    others = replace(fast, exclude_self=True)
    where: dict[str, Any] = {"sites": sites, "temperature": temperature}
    return Ablation(
        "heads",
        "How heads are weighed",
        "table 2",
        (
            Variant("heads-equal", "equal", text="null", **where),
            _learned("heads-fast", f"learned, fast, at most {fast.steps} steps", fast, **where),
            _learned("heads-fast-others", "learned, fast, self left out", others, **where),
        ),
    )


def head_sites(card: Card) -> tuple[tuple[Site, ...], float | None]:
    """Returns sites that together have several heads, and their temperature if it is another.

    `tiny` has one head wherever it looks; three of its attentions side by side stand in for heads.
    """
    sites = card.sites.get("tuning", card.sites["track"])
    if sum(site.heads for site in sites) > 1 or card.name not in ("tiny", "tiny-untrained"):
        return sites, None
    (site,) = sites
    places = ("down_blocks.1.attentions.0", "up_blocks.1.attentions.0", "up_blocks.1.attentions.1")
    return tuple(replace(site, path=f"{place}.transformer_blocks.0.attn1") for place in places), 0.07


def _components(card: Card) -> Ablation:
    """Returns the paper's table 4: components removed, or replaced, one by one."""
    usual = card.noising
    ways = [
        Variant(f"latents-{kind}", NOISINGS[kind], noising=level(card, kind, usual.timestep))
        for kind in ("clean", "noise", "invert")
        if kind != usual.kind
    ]
    given = [] if usual.timestep == 1 else [Variant("step-1", NOISINGS[usual.kind], noising=level(card, usual.kind, 1))]
    changes: dict[str, tuple[str, dict[str, Any]]] = {
        "no-window": ("no window", {"radius": 10_000}),
        "no-topk": ("no top-k", {"topk": 100_000}),
        "recent-0": ("no recent frames", {"recent": 0}),
        "lost-keep": ("lost objects kept", {"lost": "keep"}),
        "softmax-window": ("softmax over the window", {"softmax_scope": "window"}),
        "temperature-1": ("temperature 1", {"temperature": 1.0}),
        "cosine": ("cosine of features, lost objects kept", {"preset": "dift"}),
        "minmax": ("channels stretched", {"channel_norm": "minmax"}),
        "nearest": ("first labels by nearest", {"first_labels": "nearest"}),
    }
    rest = [Variant(name, title, TrackSettings(**change)) for name, (title, change) in changes.items()]
    return Ablation("components", "Components removed one by one", "table 4", (DEFAULT, *ways, *given, *rest))


def _runtime(card: Card, scale: Scale) -> Ablation:
    """Returns the paper's table 5: what each component costs. Nothing new is measured for it."""
    conditioning, components, refiners = _conditioning(scale), _components(card), _refiners()
    asked = {"default", "latents-clean", "latents-noise", "latents-invert", "lost-keep", "softmax-window", "cosine"}
    asked |= {"guided", "crf", "sam", "text-null", *(each.name for each in conditioning.variants if each.tuning)}
    every = (*components.variants, *refiners.variants, *conditioning.variants)
    unique = {each.name: each for each in every if each.name in asked}
    return Ablation("runtime", "Seconds by component", "table 5", tuple(unique.values()), "seconds")


def _refiners() -> Ablation:
    """Returns the paper's table 7: what makes better masks of the tracked ones."""
    titles = {"guided": "guided upsampling", "crf": "mean-field CRF", "sam": "segmenter (p 40, n 2)"}
    kinds = [Variant(kind, title, refine=kind) for kind, title in titles.items()]
    return Ablation("refiners", "Refinement", "table 7", (DEFAULT, *kinds))


def _attention(card: Card) -> Ablation:
    """Returns the paper's figure 3: self-attention against cosine similarity, from the first frame alone."""
    alone: dict[str, Any] = {"recent": 0, "lost": "keep"}
    return Ablation(
        "attention",
        "Self-attention against cosine, from the first frame alone",
        "figure 3",
        (
            Variant("alone-attention", "self-attention", TrackSettings(preset="drift", **alone)),
            Variant("alone-cosine", "cosine of features", TrackSettings(preset="dift", **alone)),
        ),
        "curves",
    )


def _noising(card: Card, scale: Scale) -> Ablation:
    """Returns the paper's figure 4: noise levels and the ways there, from the first frame alone."""
    variants = []
    for preset, kind in (("drift", "clean"), ("drift", "noise"), ("drift", "invert"), ("dift", "clean")):
        settings = TrackSettings(preset=preset, recent=0, lost="keep")
        for timestep in scale.timesteps:
            title = f"{NOISINGS[kind]}{', cosine' if preset == 'dift' else ''}"
            noising = level(card, kind, timestep)  # type: ignore[arg-type]
            variants.append(Variant(f"alone-{preset}-{kind}-{timestep}", title, settings, noising))
    return Ablation("noising", "Noise levels, from the first frame alone", "figure 4", tuple(variants), "timesteps")


def _prompts(scale: Scale) -> Ablation:
    """Returns the paper's figure 7: how many prompts of how many points a segmenter is given."""
    variants = [
        Variant(f"sam-n{n}-p{p}", f"n {n}, p {p}", refine="sam", sam=SamSettings(prompts=p, points=n))
        for n in scale.points
        for p in scale.prompts
    ]
    return Ablation("prompts", "Prompts of a segmenter", "figure 7", tuple(variants), "grid")


def _tuning(preset: str, scale: Scale, learned: Literal["tensor", "heads"]) -> TuningSettings:
    settings = get_tuning(preset)
    assert settings is not None
    most = settings.steps if scale.tuning_steps is None else min(settings.steps, scale.tuning_steps)
    return replace(settings, steps=most, learned=learned)


def _learned(name: str, title: str, tuning: TuningSettings, **where: Any) -> Variant:
    """Returns a tuned variant; its name tells how many steps there are, where they are not the preset's."""
    usual = get_tuning("paper" if "paper" in name else "fast")
    assert usual is not None
    own = name if usual.steps == tuning.steps else f"{name}-{tuning.steps}"
    return Variant(own, title, text="null", tuning=tuning, **where)
