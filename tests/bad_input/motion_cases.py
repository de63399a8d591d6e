"""Bad input of `analyze` and `generate`, and card files that are none."""

import numpy as np

from undertow.points import Tracks, write_tracks

from .kitchen import FRAMES, Case, Kitchen


def analyze(kitchen: Kitchen, *more: object, model: object = "tiny") -> list[object]:
    return ["analyze", model, *more, "--out", kitchen.out, "--size", "tokens=192"]


def filmed(kitchen: Kitchen, points: int = 4, frames: int = FRAMES, visible: bool = True) -> list[object]:
    """A clip with tracks of so many points and frames."""
    path = kitchen.folder / "tracks.npz"
    write_tracks(path, Tracks(np.full((points, frames, 2), 20, np.float32), np.full((points, frames), visible)))
    return [kitchen.clip, "--tracks", path]


def generate(kitchen: Kitchen, *more: object, prompt: str = "a red disc.") -> list[object]:
    return ["generate", "--prompt", prompt, "--model", "tiny", "--out", kitchen.out, "--steps", "1", *more]


def card(kitchen: Kitchen, text: str) -> object:
    return kitchen.at("card.json", text)


def finished(kitchen: Kitchen, name: str) -> None:
    kitchen.at(f"out/{name}", "earlier")


def with_earlier(kitchen: Kitchen, name: str, arguments: list[object]) -> list[object]:
    finished(kitchen, name)
    return arguments


ANALYZE = [
    Case("a clip without tracks", lambda k: analyze(k, k.clip), "has no known points; give --tracks"),
    Case("tracks without a clip", lambda k: analyze(k, "--tracks", "x.npz"), "--tracks belong to a CLIP"),
    Case("a clip and worlds", lambda k: analyze(k, *filmed(k), "--worlds", "1"), "give one of them"),
    Case("--worlds 0", lambda k: analyze(k, "--worlds", "0"), "--worlds is 0"),
    Case("--frames 1", lambda k: analyze(k, "--frames", "1"), "--frames is 1"),
    Case("--every 0", lambda k: analyze(k, "--every", "0"), "--every is 0"),
    Case("--points 0", lambda k: analyze(k, "--points", "0"), "--points is 0"),
    Case("--timesteps early", lambda k: analyze(k, "--timesteps", "early"), "--timesteps is 'early'"),
    Case("--timesteps 1,1000", lambda k: analyze(k, "--timesteps", "1,1000"), "timestep 1000 is outside"),
    Case("--reading backwards", lambda k: analyze(k, "--reading", "backwards"), "is not one of"),
    Case("--size that does not fit", lambda k: [*analyze(k)[:-1], "100x97"], "100x97"),
    Case("a missing clip", lambda k: analyze(k, k.folder / "no.mp4", *filmed(k)[1:]), "no.mp4"),
    Case("missing tracks", lambda k: analyze(k, k.clip, "--tracks", k.folder / "no.npz"), "no.npz"),
    Case("tracks that are none", lambda k: analyze(k, k.clip, "--tracks", k.at("t.npz", b"x")), "not a readable .npz"),
    Case("tracks of another clip", lambda k: analyze(k, *filmed(k, frames=9)), "4 points on 3 frames"),
    Case("tracks of no point", lambda k: analyze(k, *filmed(k, points=0)), "has no tracks"),
    Case("points that are never seen", lambda k: analyze(k, *filmed(k, visible=False)), "no point of"),
    Case("prompts for an image model", lambda k: analyze(k, "--prompts", "objects"), "without motion"),
    Case("a missing file of prompts", lambda k: analyze(k, "--prompts", k.folder / "no.txt"), "cannot be read"),
    Case("a file of no prompts", lambda k: analyze(k, "--prompts", k.at("empty.txt", "\n")), "holds no prompt"),
    Case("--count 0", lambda k: analyze(k, "--prompts", "objects", "--count", "0"), "--count is 0"),
    Case(
        "an earlier analysis",
        lambda k: with_earlier(k, "table.csv", analyze(k)),
        "holds an earlier analysis; give --overwrite",
    ),
    Case("a file as --out", lambda k: [*analyze(k), "--out", k.clip], "is a file; name a folder"),
    Case(
        "a card of one's own in --out",
        lambda k: with_earlier(k, "card.json", analyze(k)),
        "card.json' exists already; give --overwrite",
    ),
    Case("a card that is no JSON", lambda k: analyze(k, model=card(k, "{")), "is not valid JSON"),
    Case("a card without a name", lambda k: analyze(k, model=card(k, "{}")), "has no name"),
    Case("a card with a misspelt entry", lambda k: analyze(k, model=card(k, '{"nome": "x"}')), "entry 'nome'"),
    Case(
        "a card like an unknown one",
        lambda k: analyze(k, model=card(k, '{"name": "x", "like": "y"}')),
        "no registered model is called 'y'",
    ),
    Case(
        "a card of a site that is not there",
        lambda k: analyze(
            k,
            model=card(
                k,
                '{"name": "x", "like": "tiny", "sites": {"points": [{"path": "nowhere", "kind": "self", "heads": 1, '
                '"head_dim": 128, "stride": 8}]}}',
            ),
        ),
        "no attention called 'nowhere'",
    ),
    Case(
        "a card whose folder is missing",
        lambda k: analyze(k, model=card(k, '{"name": "x", "like": "tiny", "folder": "weights"}')),
        "weights is not a folder",
        code=3,
    ),
]

GENERATE = [
    Case("no --prompt", lambda k: ["generate", "--out", k.out], "'--prompt'"),
    Case("a prompt of 500 words", lambda k: generate(k, prompt="red " * 500), "shorten it"),
    Case("--frames 2 of an image model", lambda k: generate(k, "--frames", "2"), "makes single pictures"),
    Case("--frames 0", lambda k: generate(k, "--frames", "0"), "--frames is 0"),
    Case("--guidance of an image model", lambda k: generate(k, "--guidance", "temporal"), "leave --guidance out"),
    Case("--guidance spatial", lambda k: generate(k, "--guidance", "spatial"), "is not one of"),
    Case("--scale without guidance", lambda k: generate(k, "--scale", "1"), "without --guidance temporal"),
    Case("--scale nan", lambda k: generate(k, "--guidance", "temporal", "--scale", "nan"), "--scale is nan"),
    Case("--text-scale -1", lambda k: generate(k, "--text-scale=-1"), "--text-scale is -1"),
    Case("--steps 0", lambda k: generate(k, "--steps", "0"), "--steps is 0"),
    Case("--shift 0", lambda k: generate(k, "--shift", "0"), "--shift is 0"),
    Case("--shift of a model of no flow", lambda k: generate(k, "--shift", "2"), "--shift is for flow-matching models"),
    Case("--seed -1", lambda k: generate(k, "--seed=-1"), "--seed is -1"),
    Case("--fps 0", lambda k: generate(k, "--fps", "0"), "--fps is 0"),
    Case("--sites without guidance", lambda k: generate(k, "--sites", "1"), "without --guidance temporal"),
    Case("--sites one", lambda k: generate(k, "--sites", "one"), "--sites is 'one'"),
    Case("--sites 99", lambda k: generate(k, "--guidance", "temporal", "--sites", "99"), "has layers 0 to 6"),
    Case("--size 101x97", lambda k: generate(k, "--size", "101x97"), "101x97"),
    Case("--image of a text model", lambda k: generate(k, "--image", k.frames()), "leave --image out"),
    Case("an unknown model", lambda k: [*generate(k), "--model", "nothing"], "no model is called 'nothing'"),
    Case(
        "an earlier sample",
        lambda k: with_earlier(k, "generation.json", generate(k)),
        "holds an earlier sample; give --overwrite",
    ),
    Case("a file as --out", lambda k: [*generate(k), "--out", k.clip], "is a file; name a folder"),
    Case(
        "a picture of one's own in --out",
        lambda k: with_earlier(k, "image.png", generate(k)),
        "image.png' exists already; give --overwrite",
    ),
]
