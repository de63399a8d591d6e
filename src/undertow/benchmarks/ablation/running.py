"""Measures ablations with the benchmark's runner, and writes their tables and charts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from undertow.backbones import Card, locate
from undertow.base import Progress, SettingsError, SilentProgress, write_json
from undertow.benchmarks.ablation.figures import gather_conditionings
from undertow.benchmarks.ablation.methods import (
    TUNING_STEPS,
    ObjectTexts,
    Seconds,
    load_image_model,
    masks_digest,
    texts_of,
    time_method,
    unique_variants,
    variant_method,
)
from undertow.benchmarks.ablation.variants import Ablation, Scale, Variant, make_ablations
from undertow.benchmarks.ablation.writing import Measured, write_ablations
from undertow.benchmarks.core.methods import Method
from undertow.benchmarks.core.outcomes import RESULTS, Outcome, by_method, read_outcomes
from undertow.benchmarks.core.runner import choose_rules, run_benchmark, unit_fingerprint
from undertow.benchmarks.core.sample import EvaluationProtocol, Sample, get_protocol
from undertow.benchmarks.masks.sample import MaskSample
from undertow.refinement import segmenter_at_hand

# Beside the predictions, where no outcomes are looked for.
KERNELS = f"{RESULTS}/kernels"
RUNTIME = "runtime.json"
# What is written without being measured by methods of its own: the paper's table 6 and figure 5.
EXTRAS = ("models", "embeddings")


@dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """What is ablated, and how.

    Attributes:
        model: Name or folder of the model.
        only: Names of ablations, or what they repeat ("table1", "figure4"); all of them if empty.
        variants: Of these ablations only those rows, beside the first, by name; all of them if empty.
        protocol: How to measure.
        scale: How much.
        segmenter: What the variants with a segmenter prompt.
        device: Where the model runs.
        dtype: Its number type.
        workers: How many processes measure at once.
        threads: CPU threads of each.
        overwrite: Whether to measure again what is there.
        tables_only: Whether to measure nothing and write tables of what is there.
    """

    model: str | Path = "tiny"
    only: Sequence[str] = ()
    variants: Sequence[str] = ()
    protocol: EvaluationProtocol | str = "lab"
    scale: Scale = field(default_factory=Scale)
    segmenter: str = "sam-vit-h"
    device: str | None = None
    dtype: str | None = None
    workers: int = 1
    threads: int | None = None
    overwrite: bool = False
    tables_only: bool = False


def run_ablations(
    samples: Sequence[Sample],
    out: Path | str,
    settings: AblationSettings | None = None,
    progress: Progress | None = None,
    *,
    root: Path | str | None = None,
    split: str | None = None,
) -> str:
    """Measures ablations, writes `ablation.md` with a CSV and a chart of each into `out`, and returns the markdown.

    Sequences that are finished are kept, so that a stopped run goes on; variants that several ablations share are
    measured once. What cannot be measured for want of weights is said so in its row.

    Args:
        samples: Sequences with masks.
        out: Folder of the ablation.
        settings: What is ablated, and how.
        progress: Advanced by every frame.
        root: The dataset's folder, for the manifest.
        split: Its split, for the manifest.

    Raises:
        SettingsError: for an unknown ablation, or samples of another task.
        WeightsUnavailable: if the model's weights are unavailable.
    """
    settings, out, progress = settings or AblationSettings(), Path(out), progress or SilentProgress()
    masked = [sample for sample in samples if isinstance(sample, MaskSample)]
    if not masked or len(masked) < len(samples):
        raise SettingsError("mask tracking is what is ablated; give a dataset of masks, such as davis or world-hard")
    protocol = get_protocol(settings.protocol) if isinstance(settings.protocol, str) else settings.protocol
    ablations, extras = choose(make_ablations(_card(settings.model), settings.scale), settings.only)
    ablations = narrowed(ablations, settings.variants)
    texts = {sample.name: found for sample in masked if (found := texts_of(sample))}
    missing = _missing(ablations, texts, settings)
    seconds: dict[str, Seconds] = {}
    if settings.tables_only:
        outcomes = read_outcomes(out)
        seconds = {name: each for name, (each, _) in _read_seconds(out).items()}
    else:
        outcomes = _measure(masked, ablations, texts, missing, out, settings, protocol, progress, root, split)
        if "runtime" in ablations:
            seconds = _time(masked[0], ablations["runtime"], texts, missing, out, settings, protocol)
    conditionings = {}
    if "embeddings" in extras:
        backbone = load_image_model(settings.model, settings.device, settings.dtype)
        conditionings = gather_conditionings(backbone, out / KERNELS, list(texts.values()))
    measured = Measured(
        dataset=masked[0].dataset,
        protocol=protocol.describe(),
        model=str(settings.model),
        ablations=ablations,
        extras=extras,
        found=by_method(outcomes),
        missing=missing,
        seconds=seconds,
        timed=masked[0].name,
        conditionings=conditionings,
    )
    return write_ablations(measured, out)


def choose(every: Mapping[str, Ablation], only: Sequence[str]) -> tuple[dict[str, Ablation], tuple[str, ...]]:
    """Returns the ablations asked for and the extras, by name or by the table or figure they repeat.

    Raises:
        SettingsError: if there is no such one.
    """
    papers = {each.paper.replace(" ", ""): name for name, each in every.items()}
    papers |= {"table6": "models", "figure5": "embeddings"}
    asked = [papers.get(name.lower().replace(" ", ""), name) for name in only] or [*every, *EXTRAS]
    unknown = [name for name in asked if name not in every and name not in EXTRAS]
    if unknown:
        known = ", ".join((*every, *EXTRAS, *papers))
        raise SettingsError(f"there is no ablation '{unknown[0]}'; choose of {known}")
    return {name: each for name, each in every.items() if name in asked}, tuple(n for n in EXTRAS if n in asked)


def narrowed(ablations: dict[str, Ablation], names: Sequence[str]) -> dict[str, Ablation]:
    """Returns ablations with only the variants called so, beside the first; those without any are skipped.

    Raises:
        SettingsError: if there is no such variant.
    """
    every = [variant.name for each in ablations.values() for variant in each.variants]
    unknown = [name for name in names if name not in every]
    if unknown:
        raise SettingsError(f"there is no variant '{unknown[0]}'; choose of {', '.join(dict.fromkeys(every))}")
    if not names:
        return ablations
    kept = {
        name: replace(each, variants=(each.variants[0], *(v for v in each.variants[1:] if v.name in names)))
        for name, each in ablations.items()
    }
    return {name: each for name, each in kept.items() if len(each.variants) > 1 or each.variants[0].name in names}


def _card(model: str | Path) -> Card:
    """Returns a model's card; of a folder of which nothing is known, the one that fits."""
    card = locate(str(model)).card
    return load_image_model(model).card if card is None else card


def _missing(
    ablations: Mapping[str, Ablation], texts: Mapping[str, Mapping[int, ObjectTexts]], settings: AblationSettings
) -> dict[str, str]:
    """Returns why variants cannot be measured, by name."""
    variants = unique_variants(variant for each in ablations.values() for variant in each.variants)
    reasons = {}
    # An ablation downloads no segmenter of its own accord.
    wanting = any(each.refine == "sam" for each in variants) and not segmenter_at_hand(settings.segmenter)
    for variant in variants:
        if variant.refine == "sam" and wanting:
            reasons[variant.name] = f"needs weights of {Path(settings.segmenter).name}"
        if variant.text in ("class", "caption") and not texts:
            reasons[variant.name] = f"needs a {variant.text} of each object"
    return reasons


def _measure(
    samples: Sequence[MaskSample],
    ablations: Mapping[str, Ablation],
    texts: Mapping[str, Mapping[int, ObjectTexts]],
    missing: Mapping[str, str],
    out: Path,
    settings: AblationSettings,
    protocol: EvaluationProtocol,
    progress: Progress,
    root: Path | str | None,
    split: str | None,
) -> list[Outcome]:
    """Returns the outcomes of every variant that can be measured; those that need texts only where there are some."""
    variants = unique_variants(
        variant
        for each in ablations.values()
        if each.kind != "seconds"
        for variant in each.variants
        if variant.name not in missing
    )
    methods = {each.name: _method(each, samples, texts, out, settings) for each in variants}
    worded = [each for each in variants if each.text in ("class", "caption")]
    groups = [
        (samples, [methods[each.name] for each in variants if each not in worded]),
        ([sample for sample in samples if sample.name in texts], [methods[each.name] for each in worded]),
    ]
    outcomes: list[Outcome] = []
    for own, asked in groups:
        if own and asked:
            outcomes += run_benchmark(
                own, asked, out, protocol, progress, overwrite=settings.overwrite, workers=settings.workers,
                threads=settings.threads, root=root, split=split,
            )  # fmt: skip
    return outcomes


def _method(
    variant: Variant,
    samples: Sequence[MaskSample],
    texts: Mapping[str, Mapping[int, ObjectTexts]],
    out: Path | None,
    settings: AblationSettings,
) -> Method:
    """Returns a variant as a method; without `out`, what it learns is not kept."""
    words = {}
    if variant.text in ("class", "caption"):
        words = {masks_digest(sample.cues()[0]): texts[sample.name] for sample in samples if sample.name in texts}
    return variant_method(
        settings.model, variant, words, device=settings.device, dtype=settings.dtype, segmenter=settings.segmenter,
        kernels=None if out is None else out / KERNELS,
    )  # fmt: skip


def _time(
    sample: MaskSample,
    runtime: Ablation,
    texts: Mapping[str, Mapping[int, ObjectTexts]],
    missing: Mapping[str, str],
    out: Path,
    settings: AblationSettings,
    protocol: EvaluationProtocol,
) -> dict[str, Seconds]:
    """Returns what variants take on a sequence's first frames; what was timed before is kept."""
    stored = {} if settings.overwrite else _read_seconds(out)
    rules, digest = choose_rules([sample]), sample.fingerprint()
    for variant in runtime.variants:
        if variant.name in missing:
            continue
        brief = (
            variant if variant.tuning is None else replace(variant, tuning=replace(variant.tuning, steps=TUNING_STEPS))
        )
        method = _method(brief, [sample], texts, None, settings)
        fingerprint = unit_fingerprint(method, sample, digest, protocol, rules)
        if variant.name not in stored or stored[variant.name][1] != fingerprint:
            stored[variant.name] = (time_method(method, sample, protocol), fingerprint)
            facts = {name: {**asdict(each), "fingerprint": print_} for name, (each, print_) in stored.items()}
            write_json(out / RUNTIME, facts)
    return {name: each for name, (each, _) in stored.items()}


def _read_seconds(out: Path) -> dict[str, tuple[Seconds, str]]:
    """Returns what was timed before; nothing if the file is not there or broken."""
    try:
        facts = json.loads((out / RUNTIME).read_text(encoding="utf-8"))
        return {
            name: (Seconds(each["cpu"], each["wall"], each["before"]), each["fingerprint"])
            for name, each in facts.items()
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
