"""Tables of video semantic segmentation: what decides how good it is, with the numbers of VidSeg beside ours.

    python benchmarks/quality/parse_tables.py --root DATA --out parse                      # every table
    python benchmarks/quality/parse_tables.py --root DATA --out parse --tables main,first  # some of them
    python benchmarks/quality/parse_tables.py --out parse --report                         # from what is there

Measured on CamVid's validation clip (`--dataset` for another) with `--model`, the labels of one frame given and that
frame not scored. `main` shows all frames, once for each of three anchors, and takes the mean; `first` shows the first
28 frames, for what is slow; all others are at protocol `lab` with frame 0 as the anchor. Every finished row is kept,
so the script goes on where it was stopped. What was published is of other data and weights: only the order compares.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from undertow.backbones import load
from undertow.base import BarProgress, UndertowError, set_threads, write_text
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import baseline_method
from undertow.benchmarks.core.outcomes import read_outcomes
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import EvaluationProtocol, get_protocol
from undertow.benchmarks.parse.methods import model_method as parse_method
from undertow.benchmarks.parse.posed import with_anchors
from undertow.benchmarks.report.tables import method_table
from undertow.parsing import ParseSettings
from undertow.parsing.modulation import modulation_for
from undertow.refinement.settings import CrfSettings

PLAIN = ParseSettings(method="vidseg")
TURBO, EXACT = (replace(PLAIN, quality=quality) for quality in ("turbo", "exact"))
EMERDIFF = replace(EXACT, method="emerdiff")
PAPER = replace(TURBO, anchor_grid=False, place=0.0, balance=0.0)
PROPAGATE = replace(PLAIN, method="propagate")
FIRST = EvaluationProtocol("first 28 frames", most_frames=28)
COARSER = EvaluationProtocol("all frames, 1600 tokens", tokens=1600)
SHORT = EvaluationProtocol("lab, 10 frames", stride=3, most_frames=10, tokens=1600)
SMALL = EvaluationProtocol("first 28 frames, 1600 tokens", most_frames=28, tokens=1600)


@dataclass(frozen=True)
class Study:
    """One table: what is compared, on which frames, and what the paper has."""

    title: str
    rows: Mapping[str, ParseSettings]
    published: str = ""
    baselines: tuple[str, ...] = ()
    protocol: EvaluationProtocol = field(default_factory=lambda: get_protocol("lab"))
    anchors: tuple[int, ...] = (0,)
    rules: str | None = None


def without(settings):
    """Returns settings without agreement along correspondences."""
    return replace(settings, agree=False)


def pushed(backbone, settings, **changes):
    """Returns settings whose modulation differs from the model's own in some places."""
    return replace(settings, modulation=replace(modulation_for(backbone.card, settings), **changes))


def pushed_sites(backbone):
    """Returns an attention of every transformer of the decoder; which one of a transformer makes no difference."""
    # The last of a transformer stands for it.
    found = [site for site in backbone.sites("cross") if site.path.startswith("up_blocks")]
    sites = {site.path.split(".transformer_blocks")[0]: site for site in found}
    return sites


def studies(backbone):
    """Returns every table by name."""
    both = {"turbo": TURBO, "turbo, no agreement": without(TURBO)}
    return {
        "main": Study(
            "All 101 frames, mean over anchors at frames 0, 25, 50",
            {"propagate": PROPAGATE, **both},
            baselines=("copy", "colour", "dis"),
            protocol=get_protocol("full"),
            anchors=(0, 25, 50),
        ),
        "coarser": Study(
            "All 101 frames at 1600 tokens, mean over anchors at frames 0, 25, 50",
            {"propagate": PROPAGATE, **both},
            baselines=("copy", "colour", "dis"),
            protocol=COARSER,
            anchors=(0, 25, 50),
        ),
        "first": Study(
            "The first 28 frames, anchor at frame 0",
            {
                "propagate": PROPAGATE, **both, "exact": EXACT, "exact, no agreement": without(EXACT),
                "emerdiff": EMERDIFF, "emerdiff, turbo": replace(EMERDIFF, quality="turbo"),
            },
            baselines=("copy", "colour", "dis"),
            protocol=FIRST,
            published="VSPW, first 30 validation videos (mIoU / mVC8 / mVC16): EmerDiff 31.0 / 68.8 / 64.0, "
            "VidSeg 47.2 / 89.4 / 87.9.",
        ),
        "small": Study(
            "The first 28 frames at 1600 tokens, anchor at frame 0",
            {
                "propagate": PROPAGATE, **both, "exact": EXACT, "exact, no agreement": without(EXACT),
                "emerdiff": EMERDIFF, "emerdiff, turbo": replace(EMERDIFF, quality="turbo"),
            },
            baselines=("copy", "colour", "dis"),
            protocol=SMALL,
        ),
        "choices": Study(
            "What differs from the paper: labels of the anchor's tokens, places, the balance of classes",
            {
                "turbo": TURBO, "as in the paper": PAPER, "most of a cluster": replace(TURBO, anchor_grid=False),
                "no places": replace(TURBO, place=0.0), "no balance": replace(TURBO, balance=0.0),
            },
        ),
        "neighbours": Study(
            "Labelled tokens that lend a token their mean label",
            {f"{k} neighbours": replace(TURBO, neighbours=k) for k in (1, 4, 16)},
        ),
        "batch": Study(
            "Frames labelled together (the paper's table 7)",
            {f"batch {size}": replace(TURBO, batch=size) for size in (5, 10, 14, 20)},
            "Cityscapes subset (mIoU): 32.9, 34.9, 34.4, 31.8 for 5, 10, 14, 20.",
        ),
        "clusters": Study(
            "Number of clusters, each with the class that most of it has on the anchor",
            {
                f"{count} clusters": replace(TURBO, clusters=count, anchor_grid=False)
                for count in (5, 10, 20, 30, 40)
            }
            | {"the anchor's own grid": TURBO},
            "The paper has 20 clusters (30 on Cityscapes) without a table.",
        ),
        "clusters-before": Study(
            "Number of clusters before they are classes: no anchor, matched one to one with classes over the clip",
            {f"{count} clusters": replace(TURBO, clusters=count) for count in (5, 10, 20, 30, 40)},
            rules="hungarian-per-video",
        ),
        "discover": Study(
            "New clusters of what is unlike all that is labelled",
            {"none": TURBO, "new clusters": replace(TURBO, discover=True)},
        ),
        "agreement": Study(
            "Agreement along correspondences: most tokens one moves between frames",
            {"none": without(TURBO)} | {f"tau {tau}": replace(TURBO, tau=tau) for tau in (1, 2, 4)},
        ),
        "block": Study(
            "Transformer that is pushed, quality exact (the paper's table 5; cross or self makes no difference)",
            {name: pushed(backbone, EXACT, sites=(site,)) for name, site in pushed_sites(backbone).items()}
            | {"turbo": TURBO},
            "VSPW (mIoU), output blocks 3 to 11 of SD 2.1: 45.6, 47.0, 47.0, 45.1, 47.2, 44.5, 46.2, 43.7, 47.7.",
        ),
        "blending": Study(
            "Blending and filtering of the answers, quality exact",
            {f"exact, blended {n}": pushed(backbone, EXACT, blended=n) for n in (0, 1, 2, None)}
            | {f"exact, outside {s}": pushed(backbone, EXACT, outside=s) for s in (0.5, 1.0)},
            protocol=replace(SHORT, name="lab, 5 frames", most_frames=5),
        ),
        "crf": Study(
            "A CRF over pixels",
            {"turbo": TURBO, "turbo, crf": replace(TURBO, crf=CrfSettings()),
             "turbo, bilinear": replace(TURBO, upsampling="bilinear")},
            "VSPW (mIoU / mVC8 / mVC16): EmerDiff 31.0 / 68.8 / 64.0, with a dense CRF 31.8 / 75.5 / 71.0.",
            protocol=SHORT,
        ),
        "noising": Study(
            "Noising against inversion: of the features, and of what is pushed",
            {f"turbo, {kind}": replace(TURBO, noising=kind) for kind in ("clean", "noise", "invert")}
            | {f"exact, pushed after {kind}": pushed(backbone, EXACT, noising=kind) for kind in ("noise", "invert")},
            "The paper inverts; its code adds noise.",
        ),
    }  # fmt: skip


def file_name(label):
    """Returns a label as a method's name, which names a folder."""
    return label.replace(", ", "+").replace(" ", "-").replace("'", "")


def methods_of(study, arguments):
    """Returns the methods of a table, or those of its rows that are wanted."""
    rows = [
        parse_method(arguments.model, settings=settings, label=file_name(label), device=arguments.device)
        for label, settings in study.rows.items()
    ]
    wanted = arguments.rows.split(";") if arguments.rows else [*study.baselines, *study.rows]
    return [
        method
        for name, method in zip(
            [*study.baselines, *study.rows], [*map(baseline_method, study.baselines), *rows], strict=True
        )
        if name in wanted
    ]


def run(study, name, samples, arguments):
    """Measures one table, method by method, so that one that fails does not keep the others from being written."""
    posed = with_anchors(samples, study.anchors, study.protocol)
    done = BarProgress()
    for method in methods_of(study, arguments):
        try:
            with done:
                run_benchmark(
                    posed, [method], arguments.out / name, study.protocol, done, rules=study.rules,
                    threads=arguments.threads,
                )  # fmt: skip
        except UndertowError as error:
            print(f"{name}: {method.name} cannot be measured: {error}", flush=True)


def report(out, all_of_them):
    """Writes the tables that are there, as markdown."""
    parts = []
    for name, study in all_of_them.items():
        try:
            outcomes = read_outcomes(out / name)
        except UndertowError:
            continue
        order = [file_name(label) for label in (*study.baselines, *study.rows)]
        outcomes.sort(key=lambda outcome: order.index(outcome.method) if outcome.method in order else len(order))
        note = f"\nPublished: {study.published}\n" if study.published else ""
        caption = f"{outcomes[0].dataset}, {outcomes[0].protocol}, rules {outcomes[0].rules}."
        parts.append(f"## {study.title}\n\n{caption}\n\n{method_table(outcomes).markdown()}\n{note}")
    write_text(out / "tables.md", "\n".join(parts))
    print("\n".join(parts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of the dataset")
    parser.add_argument("--dataset", default="camvid")
    parser.add_argument("--sequences", default="", help="only these, separated by commas")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tables", default="", help="names, separated by commas; all if not given")
    parser.add_argument("--rows", default="", help="only these rows of the tables, separated by semicolons")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="only write tables.md from what is there")
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    every = studies(load(arguments.model, device=arguments.device))
    if not arguments.report:
        samples = open_dataset(arguments.dataset, arguments.root)
        wanted = arguments.sequences.split(",") if arguments.sequences else []
        samples = [sample for sample in samples if not wanted or sample.name in wanted]
        for name in arguments.tables.split(",") if arguments.tables else every:
            run(every[name], name, samples, arguments)
            report(arguments.out, every)
    report(arguments.out, every)


if __name__ == "__main__":
    main()
