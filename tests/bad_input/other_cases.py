"""Bad input of the other commands: inspect, bench, train, models."""

import numpy as np

from .kitchen import Case, Kitchen, labels, picture
from .video_cases import empty_folder


def look(kitchen: Kitchen, *more: object, at: str = "10,10") -> list[object]:
    return ["inspect", kitchen.clip, "--at", at, "--out", kitchen.folder / "sheet.png", "--size", "tokens=192", *more]


def bench(kitchen: Kitchen, dataset: str, root: object, *more: object) -> list[object]:
    return [
        "bench", "run", dataset, "--root", root, "--out", kitchen.out, "--models", "", "--baselines", "copy", *more,
    ]  # fmt: skip


def davis(kitchen: Kitchen, annotations: int = 4, frames: int = 4) -> object:
    """A folder with one sequence, `walk`."""
    for number in range(frames):
        kitchen.image(f"data/davis-walk/frames/{number:05d}.png", picture(number))
    for number in range(annotations):
        (kitchen.folder / "data/davis-walk/masks").mkdir(parents=True, exist_ok=True)
        kitchen.labelled(f"data/davis-walk/masks/{number:05d}.png", labels())
    return kitchen.folder / "data"


def half_a_tree(kitchen: Kitchen) -> object:
    (kitchen.folder / "tree/JPEGImages/480p").mkdir(parents=True)
    return kitchen.folder / "tree"


def without_lists(kitchen: Kitchen) -> object:
    (kitchen.folder / "tree/Annotations/480p").mkdir(parents=True)
    return half_a_tree(kitchen)


def with_binary_list(kitchen: Kitchen) -> object:
    kitchen.at("tree/ImageSets/2017/val.txt", b"\xff\xfe\x00")
    return without_lists(kitchen)


def with_missing_sequence(kitchen: Kitchen) -> object:
    kitchen.at("tree/ImageSets/2017/val.txt", "walk\n")
    return without_lists(kitchen)


def small_annotation(kitchen: Kitchen) -> object:
    root = davis(kitchen)
    kitchen.labelled("data/davis-walk/masks/00000.png", labels()[::2, ::2])
    return root


def blank_annotation(kitchen: Kitchen) -> object:
    root = davis(kitchen)
    kitchen.labelled("data/davis-walk/masks/00000.png", labels() * np.uint16(0))
    return root


def stray_annotation(kitchen: Kitchen) -> object:
    root = davis(kitchen)
    kitchen.labelled("data/davis-walk/masks/00099.png", labels())
    return root


def score(kitchen: Kitchen, predictions: object) -> list[object]:
    return [
        "bench", "score", "davis", "--results", predictions, "--root", davis(kitchen), "--out", kitchen.out,
    ]  # fmt: skip


def train(kitchen: Kitchen, *more: object, name: str = "tiny") -> list[object]:
    # The work folder cannot be made, so that nothing is trained should an option be taken after all.
    return ["train", "embedded", name, "--work", "/dev/null/work", "--out", kitchen.out, *more]


INSPECT = [
    Case("a point that is none", lambda k: look(k, at="middle"), "--at is 'middle'"),
    Case("a point of dots", lambda k: look(k, at="1.2.3,.."), "--at is '1.2.3,..'"),
    Case("a point outside the frame", lambda k: look(k, at="64,10"), "pixel 64,10 is outside the 64x48 frame"),
    Case("a negative point", lambda k: look(k, at="-1,10"), "--at is '-1,10'"),
    Case("frame 99 of 3", lambda k: look(k, "--frame", "99"), "has no frame 99"),
    Case("a look at frame 99 of 3", lambda k: look(k, "--to", "99"), "has no frame 99"),
    Case("frame -1", lambda k: look(k, "--frame", "-1"), "has no frame -1"),
    Case("--timestep 1000", lambda k: look(k, "--timestep", "1000"), "1000"),
    Case("--timestep -1", lambda k: look(k, "--timestep", "-1"), "-1"),
    Case(
        "--out without an image's suffix",
        lambda k: ["inspect", k.clip, "--at", "10,10", "--out", k.folder / "sheet.txt", "--size", "tokens=192"],
        "sheet.txt",
    ),
    Case(
        "--out is a folder",
        lambda k: ["inspect", k.clip, "--at", "10,10", "--out", empty_folder(k), "--size", "tokens=192"],
        "empty",
    ),
]

BENCH = [
    Case("a dataset that is none", lambda k: bench(k, "foo", k.folder), "dataset 'foo' is not one of"),
    Case("a root that does not exist", lambda k: bench(k, "davis", k.folder / "no"), "'<tmp>/no' does not exist"),
    Case("an empty root", lambda k: bench(k, "davis", empty_folder(k)), "is not a DAVIS dataset"),
    Case("a root that is a file", lambda k: bench(k, "davis", k.clip), "clip.mp4'"),
    Case("a tree without annotations", lambda k: bench(k, "davis-2017", half_a_tree(k)), "is not a DAVIS tree"),
    Case("a tree without lists", lambda k: bench(k, "davis-2017", without_lists(k)), "has no list of sequences"),
    Case("a list that is no text", lambda k: bench(k, "davis-2017", with_binary_list(k)), "val.txt"),
    Case("a list of what is not there", lambda k: bench(k, "davis-2017", with_missing_sequence(k)), "'walk' has no"),
    Case("a sequence that is none", lambda k: bench(k, "davis", davis(k), "--sequences", "run"), "'run' is not one"),
    Case("two annotations", lambda k: bench(k, "davis", davis(k, 2)), "has 2 annotated frames"),
    Case("no frames", lambda k: bench(k, "davis", davis(k, frames=0)), "'walk' has no frames"),
    Case("an annotation of another size", lambda k: bench(k, "davis", small_annotation(k)), "is 32x24 but the video"),
    Case("a first annotation all black", lambda k: bench(k, "davis", blank_annotation(k)), "has no object"),
    Case("an annotation without a frame", lambda k: bench(k, "davis", stray_annotation(k)), "no frame of that name"),
    Case("a baseline that is none", lambda k: bench(k, "davis", davis(k), "--baselines", "foo"), "baseline 'foo'"),
    Case("a model that is none", lambda k: bench(k, "davis", davis(k), "--models", "foo"), "no model is called 'foo'"),
    Case("a preset that is none", lambda k: bench(k, "davis", davis(k), "--models", "tiny", "--presets", "foo"), "foo"),
    Case("a protocol that is none", lambda k: bench(k, "davis", davis(k), "--protocol", "foo"), "'foo' is not one of"),
    Case("no method at all", lambda k: bench(k, "davis", davis(k), "--baselines", ""), "method"),
    Case("a reference that is none", lambda k: bench(k, "davis", davis(k), "--reference", "foo"), "foo"),
    Case("--out is a file", lambda k: bench(k, "davis", davis(k), "--out", k.at("file", "a file")), "file"),
    Case("predictions that do not exist", lambda k: score(k, k.folder / "no"), "no"),
    Case("predictions in an empty folder", lambda k: score(k, empty_folder(k)), "empty"),
    Case("a report of nothing", lambda k: ["bench", "report", "--out", k.folder / "no"], "no"),
    Case("a world's root that is a file", lambda k: bench(k, "world-easy", k.at("file", "a file")), "file"),
]

TRAIN = [
    Case("snapshots that are no numbers", lambda k: train(k, "--snapshots", "10,many"), "--snapshots is '10,many'"),
    Case("snapshots of 5000 digits", lambda k: train(k, "--snapshots", "9" * 5000), "snapshots"),
    Case("a model that is none", lambda k: train(k, name="huge"), "'huge' is not one of"),
    Case("--minutes -5", lambda k: train(k, "--minutes", "-5"), "minutes"),
    Case("--minutes nan", lambda k: train(k, "--minutes", "nan"), "minutes"),
    Case("--processes 0", lambda k: train(k, "--processes", "0"), "processes"),
    Case(
        "photographs without a table", lambda k: train(k, "--photos", k.folder / "none"), "SOURCES.csv cannot be read"
    ),
    Case("a start for another model", lambda k: train(k, "--start", "tiny", name="tiny-words"), "is for tiny, "),
    Case("a model to start from that is none", lambda k: train(k, "--start", "huge"), "no model is called 'huge'"),
    Case("--processes -1", lambda k: train(k, "--processes", "-1"), "processes"),
]
