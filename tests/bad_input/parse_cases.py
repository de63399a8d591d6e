"""Bad input of `parse`: anchors, clusters, names."""

import numpy as np

from .kitchen import Case, Kitchen, labels, picture
from .output_cases import RUN
from .video_cases import empty_folder

QUICK = ("--size", "tokens=192", "--views", "none", "--threads", "2")


def parse(kitchen: Kitchen, *more: object, anchor: object = None) -> list[object]:
    given = kitchen.mask if anchor is None else anchor
    return ["parse", kitchen.clip, "--anchor", given, "--out", kitchen.out, *QUICK, *more]


def unlabelled(kitchen: Kitchen, *more: object) -> list[object]:
    return ["parse", kitchen.clip, "--out", kitchen.out, *QUICK, *more]


def small(kitchen: Kitchen) -> object:
    return kitchen.labelled("small.png", labels()[::2, ::2])


def void(kitchen: Kitchen) -> object:
    return kitchen.labelled("void.png", np.full_like(labels(), 65535))


def names(kitchen: Kitchen, text: str) -> object:
    return kitchen.at("names.json", text)


def no_clip(kitchen: Kitchen) -> list[object]:
    words = kitchen.at("words.txt", "road\nsky\n")
    return parse(kitchen, "--namer", empty_folder(kitchen), "--vocabulary", words)


def tracked(kitchen: Kitchen) -> list[object]:
    kitchen.at("run/run.json", RUN)
    return ["parse", kitchen.clip, "--render", "--out", kitchen.folder / "run"]


CASES = [
    Case(
        "an anchor that does not exist", lambda k: parse(k, anchor=k.folder / "no.png"), "'<tmp>/no.png' does not exist"
    ),
    Case("an anchor of another size", lambda k: parse(k, anchor=small(k)), "is 32x24 but the video is 64x48"),
    Case("an anchor that is a picture", lambda k: parse(k, anchor=k.image("rgb.png", picture(0))), "is RGB-coded"),
    Case("an anchor as JPEG", lambda k: parse(k, anchor=k.image("a.jpg", picture(0))), "is JPEG, which may alter ids"),
    Case("an anchor of nothing but void", lambda k: parse(k, anchor=void(k)), "is void everywhere"),
    Case("an anchor on frame 99 of 3", lambda k: parse(k, anchor=f"{k.mask}@99"), "first.png@99' cannot be used"),
    Case("two anchors of one frame", lambda k: parse(k, "--anchor", k.mask), "frame 0 has two anchors"),
    Case("--clusters 0", lambda k: unlabelled(k, "--clusters", "0"), "a whole number from 1 to 255"),
    Case("--clusters many", lambda k: unlabelled(k, "--clusters", "many"), "clusters is 'many'"),
    Case("--clusters 5000", lambda k: unlabelled(k, "--clusters", "5000"), "a whole number from 1 to 255"),
    Case(
        "more clusters than tokens",
        lambda k: ["parse", k.clip, "--out", k.out, "--size", "tokens=48", "--clusters", "200"],
        "clusters is 200, but the first batch has 144 tokens",
        leaves=("out",),
    ),
    Case("--method propagate without an anchor", lambda k: unlabelled(k, "--method", "propagate"), "none was given"),
    Case("--quality best", lambda k: parse(k, "--quality", "best"), "quality is 'best'; choose"),
    Case("--classifier knn", lambda k: parse(k, "--classifier", "knn"), "no such option: --classifier"),
    Case("--batch 0 of parse", lambda k: parse(k, "--batch", "0"), "batch is 0; give 1 or more"),
    Case("--balance 2", lambda k: parse(k, "--balance", "2"), "balance is 2.0"),
    Case("--views tint", lambda k: parse(k, "--views", "tint"), "view 'tint' is not one of overlay"),
    Case("names that do not exist", lambda k: parse(k, "--names", k.folder / "no.json"), "no.json' cannot be read"),
    Case("names that are no JSON", lambda k: parse(k, "--names", names(k, "{")), "are not JSON"),
    Case("names without ids", lambda k: parse(k, "--names", names(k, '{"a": "road"}')), "give a whole number"),
    Case(
        "names merged in a circle",
        lambda k: parse(k, "--names", names(k, '[{"id": 1, "name": "a", "merge": 1}]')),
        "id 1 is merged into itself",
    ),
    Case("--namer without --vocabulary", lambda k: parse(k, "--namer", k.folder), "give both"),
    Case("--namer of an empty folder", no_clip, "holds no model", code=3, leaves=("out",)),
    Case(
        "an empty vocabulary",
        lambda k: parse(k, "--namer", k.folder, "--vocabulary", k.at("words.txt")),
        "has no words",
    ),
    Case("--render of nothing", lambda k: parse(k, "--render"), "holds no run of parse"),
    Case("--render of a tracking run", tracked, "holds no run of parse"),
    Case("parse --max-memory 1MB", lambda k: parse(k, "--max-memory", "1MB"), "parse needs about", code=4),
]
