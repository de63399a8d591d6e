"""Datasets and results that are broken: what `bench check` and `bench score` say before hours are spent."""

import json
import os
import pickle
from collections.abc import Callable

import numpy as np
from PIL import Image

from undertow.masks import write_label_map

from .kitchen import Case, Kitchen, labels, picture

FRAMES = 4
Spoil = Callable[[Kitchen], object]


class Bomb:
    """What a malicious pickle holds: opening it the usual way would run a command."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch /tmp/undertow-was-here",)


def walk(kitchen: Kitchen) -> object:
    """A folder with one sequence of two objects, all of it good."""
    for number in range(FRAMES):
        kitchen.image(f"data/davis-walk/frames/{number:05d}.png", picture(number))
        mask(kitchen, f"data/davis-walk/masks/{number:05d}.png")
    return kitchen.folder / "data"


def mask(kitchen: Kitchen, name: str, ids: np.ndarray | None = None) -> object:
    path = kitchen.at(name)
    write_label_map(path, labels() if ids is None else ids)
    return path


def cut(path: object, share: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def truth(kitchen: Kitchen, number: int = 2) -> object:
    return kitchen.folder / f"data/davis-walk/masks/{number:05d}.png"


def frame(kitchen: Kitchen, number: int = 2) -> object:
    return kitchen.folder / f"data/davis-walk/frames/{number:05d}.png"


def checked(spoil: Spoil, dataset: str = "davis-folders", make: Callable[[Kitchen], object] = walk) -> Spoil:
    """The arguments of `bench check` on a dataset after something was done to it."""

    def arguments(kitchen: Kitchen) -> list[object]:
        root = make(kitchen)
        spoil(kitchen)
        return ["bench", "check", dataset, "--root", root]

    return arguments


def rgb(path: object) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)).save(path)


def stray(path: object, value: int) -> None:
    ids = labels().astype(np.uint8)
    ids[0, 0] = value
    image = Image.fromarray(ids)
    image.putpalette(list(range(256)) * 3)
    image.save(path)


def pickled(kitchen: Kitchen, content: object) -> None:
    kitchen.at("data/tapvid_davis.pkl", content if isinstance(content, bytes) else pickle.dumps(content))


def points(kitchen: Kitchen, **changes: object) -> None:
    one = {
        "video": np.zeros((4, 16, 16, 3), np.uint8),
        "points": np.full((2, 4, 2), 0.5, np.float32),
        "occluded": np.zeros((2, 4), bool),
    }
    pickled(kitchen, {"walk": {**one, **changes}})


def tapvid(kitchen: Kitchen) -> object:
    points(kitchen)
    return kitchen.folder / "data"


def mevis(kitchen: Kitchen) -> object:
    """MeViS' val_u with one video and one sentence."""
    for number in range(3):
        kitchen.image(f"data/valid_u/JPEGImages/walk/{number:05d}.jpg", picture(number))
    expression = {"exp": "the red square", "obj_id": [0], "anno_id": [0]}
    videos = {"walk": {"expressions": {"0": expression}, "frames": [f"{n:05d}" for n in range(3)], "vid_id": 0}}
    kitchen.at("data/valid_u/meta_expressions.json", json.dumps({"videos": videos}))
    rle = {"size": [48, 64], "counts": "PPP1"}
    kitchen.at("data/valid_u/mask_dict.json", json.dumps({"0": [rle, rle, rle]}))
    return kitchen.folder / "data"


CHECK = [
    Case("a truncated annotation", checked(lambda k: cut(truth(k))), "00002.png", lists=True),
    Case("an annotation of no bytes", checked(lambda k: truth(k).write_bytes(b"")), "00002.png", lists=True),
    Case("an annotation in RGB", checked(lambda k: rgb(truth(k))), "00002.png", lists=True),
    Case("an annotation of another size", checked(lambda k: mask(k, "data/davis-walk/masks/00002.png", labels()[:24])),
         "00002.png", lists=True),
    Case("a first annotation without objects",
         checked(lambda k: mask(k, "data/davis-walk/masks/00000.png", labels() * 0)), "00000.png", lists=True),
    Case("no first annotation", checked(lambda k: truth(k, 0).unlink()), "00000.png", lists=True),
    Case("an annotation without a frame", checked(lambda k: frame(k, 3).unlink()), "00003.png", lists=True),
    Case("a truncated frame", checked(lambda k: cut(frame(k))), "00002.png", lists=True),
    Case("a frame of another size",
         checked(lambda k: k.image("data/davis-walk/frames/00002.png", picture(2)[:24])), "00002.png", lists=True),
    Case("a folder that is not there", lambda k: ["bench", "check", "davis-folders", "--root", k.folder / "no"],
         "no such folder", lists=True),
    Case("an empty folder", checked(lambda k: None, make=lambda k: k.at("data/.keep").parent), "data", lists=True),
    Case("a pickle that would run a command", checked(lambda k: pickled(k, {"walk": Bomb()}), "tapvid-davis", tapvid),
         "tapvid_davis.pkl", lists=True),
    Case("a truncated pickle", checked(lambda k: cut(k.folder / "data/tapvid_davis.pkl"), "tapvid-davis", tapvid),
         "tapvid_davis.pkl", lists=True),
    Case("tracks that are not numbers",
         checked(lambda k: points(k, points=np.full((2, 4, 2), np.nan, np.float32)), "tapvid-davis", tapvid),
         "tapvid_davis.pkl", lists=True),
    Case("tracks of another length",
         checked(lambda k: points(k, occluded=np.zeros((2, 3), bool)), "tapvid-davis", tapvid),
         "tapvid_davis.pkl", lists=True),
    Case("invalid JSON", checked(lambda k: cut(k.folder / "data/valid_u/mask_dict.json"), "mevis", mevis),
         "mask_dict.json", lists=True),
    Case("run lengths of another size",
         checked(lambda k: k.at("data/valid_u/mask_dict.json",
                 json.dumps({"0": [{"size": [24, 64], "counts": "PP1"}] * 3})), "mevis", mevis),
         "JPEGImages/walk", lists=True),
]  # fmt: skip


def scored(spoil: Spoil) -> Spoil:
    """The arguments of `bench score` on good results after something was done to them."""

    def arguments(kitchen: Kitchen) -> list[object]:
        root = walk(kitchen)
        for number in range(FRAMES):
            mask(kitchen, f"results/walk/{number:05d}.png")
        spoil(kitchen)
        return [
            "bench", "score", "davis-folders", "--root", root, "--results", kitchen.folder / "results",
            "--out", kitchen.out,
        ]  # fmt: skip

    return arguments


def result(kitchen: Kitchen, number: int = 2) -> object:
    return kitchen.folder / f"results/walk/{number:05d}.png"


def renamed(kitchen: Kitchen, name: str) -> None:
    """Gives all results other names."""
    for number in range(FRAMES):
        result(kitchen, number).rename(kitchen.folder / "results/walk" / name.format(number))


SCORE = [
    Case("a truncated result", scored(lambda k: cut(result(k))), "00002.png"),
    Case("a result of no bytes", scored(lambda k: result(k).write_bytes(b"")), "00002.png"),
    Case("a result that is a text", scored(lambda k: result(k).write_text("not a picture")), "00002.png"),
    Case("a result in RGB", scored(lambda k: rgb(result(k))), "00002.png"),
    Case("a missing frame", scored(lambda k: result(k).unlink()), "00002.png"),
    Case("a result of another size", scored(lambda k: mask(k, "results/walk/00002.png", labels()[:24])), "00002.png"),
    Case("a result with object 9", scored(lambda k: mask(k, "results/walk/00002.png", labels() * 9)), "00002.png"),
    Case("a result with a stray 255", scored(lambda k: stray(result(k), 255)), "00002.png"),
    Case("results without the sequence",
         scored(lambda k: (k.folder / "results/walk").rename(k.folder / "run")), "walk"),
    Case("results as JPEG", scored(lambda k: renamed(k, "{0:05d}.jpg")), "there is '00001.jpg'; save it as PNG"),
    Case("results with other numbers of digits", scored(lambda k: renamed(k, "{0:03d}.png")), "there is '001.png'"),
    Case("a run of track as results",
         scored(lambda k: ((k.folder / "results/walk").rename(k.folder / "masks"), k.at("results/walk/run.json"),
                           (k.folder / "masks").rename(k.folder / "results/walk/masks"))), "copy the files of"),
    Case("the folder above the results",
         scored(lambda k: ((k.folder / "results/mine").mkdir(),
                           (k.folder / "results/walk").rename(k.folder / "results/mine/walk"))), "which holds it"),
    Case("black and white results of two objects",
         scored(lambda k: Image.fromarray(np.where(labels() > 0, 255, 0).astype(np.uint8)).save(result(k))),
         "is black and white"),
    Case("rules that are none",
         lambda k: [*scored(lambda each: None)(k), "--rules", "mine"], "'mine' is not one of"),
    Case("rules of another dataset",
         lambda k: [*scored(lambda each: None)(k), "--rules", "rem"], "'rem' is not one of"),
]  # fmt: skip
