"""Measures whether classes that come into view later are found, on benchmark worlds in which such classes enter.

    python benchmarks/quality/parse_late.py --root DIR --out late              # every variant on all clips
    python benchmarks/quality/parse_late.py --root DIR --out late --clips 4 --variants 'known;new'

Frame 0 is the anchor; it lacks some class that enters later. A variant with "new" may make new clusters of what is
unlike all it knows. Each new cluster is named once, as a person would who sees it come up: by the class that most of
it has in the first frame in which it covers half a percent of the picture. A `*` marks naming by all frames' truth.

mIoU: over all classes, frame 0 left out. late IoU: of the classes that frame 0 lacks. late found: share of their pixels
in new clusters. false new: share of the other pixels in new clusters. Finished clips are kept in OUT.
"""

import argparse
import json
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from undertow.backbones import load
from undertow.base import set_threads, write_json, write_text
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.sample import get_protocol
from undertow.benchmarks.report.tables import Table
from undertow.masks import VOID
from undertow.metrics import ConfusionMatrix
from undertow.parsing import ParseSettings, parse, vidseg
from undertow.parsing.features import TokenFeatures
from undertow.world import CLASSES

TURBO = ParseSettings(method="vidseg")
NEW = replace(TURBO, discover=True)
VARIANTS = {
    "known": TURBO,
    "new": NEW,
    "new, batch 4": replace(NEW, batch=4),
    "new, novelty 1.3": replace(NEW, novelty=1.3),
    "new, novelty 2": replace(NEW, novelty=2.0),
    "new, no places": replace(NEW, place=0.0),
    "propagate": replace(TURBO, method="propagate"),
}
# Share of the picture from which on a new cluster is seen by who names it.
SEEN = 0.005


@contextmanager
def shared_features():
    """Lets variants that read the same frames in the same way share what they read."""
    read, seen = vidseg.extract_tokens, {}  # type: ignore[attr-defined]

    def remembered(observer, images, indices, resolved):
        parts = []
        for image, index in zip(images, indices, strict=True):
            key = (index, resolved.place, resolved.sites, resolved.noising, resolved.input_size)
            if key not in seen:
                seen[key] = read(observer, [image], [index], resolved)
            parts.append(seen[key])
        names = [each.name for each in fields(TokenFeatures)]
        return TokenFeatures(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    vidseg.extract_tokens = remembered  # type: ignore[attr-defined]
    try:
        yield
    finally:
        vidseg.extract_tokens = read  # type: ignore[attr-defined]


def measured(sample, backbone, settings, protocol):
    """Returns what can be added up over clips: confusion matrices and counts of pixels."""
    shown = list(protocol.frames(len(sample.frames)))
    truth = [sample.load_labels(index) for index in shown]
    with sample.open() as video:
        images = np.stack([video[index] for index in shown])
    known = {int(number) for number in np.unique(truth[0])}
    budgeted = replace(settings, tokens=protocol.tokens)
    maps = [result.labels for result in parse(images, {0: truth[0]}, backbone, budgeted)]
    new = sorted({int(number) for labels in maps for number in np.unique(labels)} - known - {VOID})
    late = sorted({int(number) for labels in truth for number in np.unique(labels)} - known)
    names = {"once": {}, "all": {}}
    for number in new:
        areas = [int((labels == number).sum()) for labels in maps]
        first = next((place for place, area in enumerate(areas) if area >= SEEN * maps[0].size), int(np.argmax(areas)))
        names["once"][number] = most(truth[first][maps[first] == number])
        names["all"][number] = most(np.concatenate([t[m == number] for t, m in zip(truth, maps, strict=True)]))
    counts = {}
    for way, mapping in names.items():
        total = ConfusionMatrix(len(CLASSES))
        table = np.arange(VOID + 1, dtype=np.uint16)
        for number, name in mapping.items():
            table[number] = name
        for labels, wanted in zip(maps[1:], truth[1:], strict=True):
            total.update(table[labels], wanted)
        counts[way] = total.counts.tolist()
    is_late = np.isin(np.stack(truth[1:]), late)
    is_new = np.isin(np.stack(maps[1:]), new)
    return {
        "confusion": counts,
        "late": late,
        "new": len(new),
        "late pixels": int(is_late.sum()),
        "late found": int((is_late & is_new).sum()),
        "other pixels": int((~is_late).sum()),
        "false new": int((~is_late & is_new).sum()),
    }


def most(classes):
    return int(np.bincount(classes).argmax())


def row(name, found):
    """Returns a line of the table from the finished clips of a variant."""
    cells = [name]
    for way in ("once", "all"):
        total, late = np.zeros(()), []
        for each in found:
            counts = np.array(each["confusion"][way])
            total = total + counts
            union = counts.sum(1) + counts[:, :-1].sum(0) - np.diag(counts)
            late += [counts[number, number] / max(1, union[number]) for number in each["late"]]
        union = total.sum(1) + total[:, :-1].sum(0) - np.diag(total)
        in_truth = total.sum(1) > 0
        cells += [f"{100 * (np.diag(total)[in_truth] / union[in_truth]).mean():.1f}", f"{100 * np.mean(late):.1f}"]
    for part, whole in (("late found", "late pixels"), ("false new", "other pixels")):
        cells.append(f"{100 * sum(each[part] for each in found) / sum(each[whole] for each in found):.1f}")
    return (*cells, f"{np.mean([each['new'] for each in found]):.1f}", str(len(found)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder for benchmark worlds")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--variants", default="", help="names, separated by ;, all if not given")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--protocol", default="lab")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    set_threads(arguments.threads)
    backbone, protocol = load(arguments.model), get_protocol(arguments.protocol)
    samples = open_dataset("world-late-classes", arguments.root)[: arguments.clips]
    names = arguments.variants.split(";") if arguments.variants else list(VARIANTS)

    def path_of(name, sample):
        return arguments.out / name.replace(", ", "+").replace(" ", "-").replace("'", "") / f"{sample.name}.json"

    for sample in samples:
        with shared_features():
            for name in names:
                if not path_of(name, sample).exists():
                    write_json(path_of(name, sample), measured(sample, backbone, VARIANTS[name], protocol))
                    print(name, sample.name, flush=True)
    rows = [row(name, [json.loads(path_of(name, sample).read_text()) for sample in samples]) for name in names]
    header = ("variant", "mIoU", "late IoU", "mIoU*", "late IoU*", "late found", "false new", "new clusters", "clips")
    table = Table(header, tuple(rows)).markdown()
    write_text(arguments.out / "late.md", f"world-late-classes, {protocol.describe()}.\n\n{table}\n")
    print(table)


if __name__ == "__main__":
    main()
