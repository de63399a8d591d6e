"""Options out of range, unknown or contradictory, and models that are none."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from undertow.backbones import get_card
from undertow.backbones.weights.locating import embedded_folder

from .kitchen import Case, Kitchen

UNET = "unet/diffusion_pytorch_model.safetensors"


def model(kitchen: Kitchen) -> Path:
    """A copy of the embedded model, to be spoilt: links, but for the denoiser."""
    source, folder = embedded_folder(get_card("tiny")), kitchen.folder / "model"
    for path in source.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    (folder / UNET).unlink()
    shutil.copy(source / UNET, folder / UNET)
    return folder


def unlinked(path: Path) -> Path:
    """A file of the model as a copy of its own."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    return path


def with_nan(kitchen: Kitchen) -> Path:
    folder = model(kitchen)
    weights = load_file(folder / UNET)
    weights[sorted(weights)[0]].view(-1)[0] = torch.nan
    save_file(weights, folder / UNET)
    return folder


def with_other_weights(kitchen: Kitchen) -> Path:
    folder = model(kitchen)
    save_file({"lora.up.weight": torch.zeros(4, 4)}, folder / UNET)
    return folder


def with_other_shapes(kitchen: Kitchen) -> Path:
    folder = model(kitchen)
    weights = load_file(folder / UNET)
    weights["conv_in.weight"] = torch.zeros(7, 5, 3, 3)
    save_file(weights, folder / UNET)
    return folder


def half_downloaded(kitchen: Kitchen) -> Path:
    folder = model(kitchen)
    data = (folder / UNET).read_bytes()
    (folder / UNET).write_bytes(data[: len(data) // 2])
    return folder


def with_bytes(kitchen: Kitchen, content: bytes) -> Path:
    folder = model(kitchen)
    (folder / UNET).write_bytes(content)
    return folder


def pickles_only(kitchen: Kitchen) -> Path:
    folder = model(kitchen)
    (folder / UNET).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    return folder


def without_weights(kitchen: Kitchen) -> Path:
    folder = model(kitchen)
    (folder / UNET).unlink()
    return folder


def with_config(kitchen: Kitchen, name: str, text: str | None = None, **changes: object) -> Path:
    """A model one of whose configurations is another text, or has other entries."""
    folder = model(kitchen)
    path = unlinked(folder / name)
    path.write_text(text if text is not None else json.dumps(json.loads(path.read_text()) | changes))
    return folder


def empty(kitchen: Kitchen) -> Path:
    (kitchen.folder / "model").mkdir()
    return kitchen.folder / "model"


def using(kitchen: Kitchen, folder: object) -> list[object]:
    return kitchen.track("--model", folder)


SETTINGS = [
    Case("--size abc", lambda k: k.track("--size", "abc"), "--size is 'abc'"),
    Case("--size 0x0", lambda k: k.track("--size", "0x0"), "0x0"),
    Case("--size 64x0", lambda k: k.track("--size", "64x0"), "64x0"),
    Case("--size 101x97", lambda k: k.track("--size", "101x97"), "101x97"),
    Case("--size -64x48", lambda k: k.track("--size=-64x48"), "--size is '-64x48'"),
    Case("--size tokens=0", lambda k: k.track("--size", "tokens=0"), "tokens is 0"),
    Case("--size tokens=1e9", lambda k: k.track("--size", "tokens=1e9"), "--size is 'tokens=1e9'"),
    Case("--size of 10^11 tokens", lambda k: k.track("--size", "tokens=100000000000"), "", code=4),
    Case("--size of a million squared", lambda k: k.track("--size", "1600000x1600000"), "", code=4),
    Case("--size of 5000 digits", lambda k: k.track("--size", "tokens=" + "9" * 5000), "--size is"),
    Case("--device foo", lambda k: k.track("--device", "foo"), "device 'foo'"),
    Case("--device cuda without one", lambda k: k.track("--device", "cuda:77"), "device 'cuda:77'"),
    Case("--device meta", lambda k: k.track("--device", "meta"), "device 'meta'"),
    Case("--dtype foo", lambda k: k.track("--dtype", "foo"), "dtype 'foo'"),
    Case("--dtype float16", lambda k: k.track("--dtype", "float16"), "dtype 'float16'"),
    Case("--preset foo", lambda k: k.track("--preset", "foo"), "foo"),
    Case("--noising foo", lambda k: k.track("--noising", "foo"), "noising is 'foo'; choose invert, noise, clean"),
    Case("--softmax-scope foo", lambda k: k.track("--softmax-scope", "foo"), "softmax_scope is 'foo'; choose"),
    Case("--channel-norm foo", lambda k: k.track("--channel-norm", "foo"), "channel_norm is 'foo'; choose"),
    Case("--threads 0", lambda k: k.track("--threads", "0"), "--threads is 0"),
    Case("--threads -3", lambda k: k.track("--threads", "-3"), "--threads is -3"),
    Case("--threads 99999999999", lambda k: k.track("--threads", "99999999999"), "--threads"),
    Case("--seed -1", lambda k: k.track("--seed", "-1"), "-1"),
    Case("--seed one", lambda k: k.track("--seed", "one"), "seed is 'one'"),
    Case("--start 99 of 3", lambda k: k.track("--start", "99"), "99"),
    Case("--start -1", lambda k: k.track("--start=-1"), "-1"),
    Case("--start soon", lambda k: k.track("--start", "soon"), "soon"),
    Case("--end before --start", lambda k: k.track("--start", "2", "--end", "1"), "1"),
    Case("--end 99 of 3", lambda k: k.track("--end", "99"), "99"),
    Case("--end 99s", lambda k: k.track("--end", "99s"), "99"),
    Case("--every 0", lambda k: k.track("--every", "0"), "0"),
    Case("a mask before --start", lambda k: k.track("--start", "1", mask=f"{k.mask}@0"), "frame 0 of"),
    Case("a mask between --every", lambda k: k.track("--every", "2", mask=f"{k.mask}@1"), "frame 1 of"),
    Case("--raw of a file", lambda k: k.track("--raw", "64x48"), "--raw is for standard input and pipes"),
    Case("--raw that is no size", lambda k: k.track("--raw", "big", video="-"), "big"),
    Case("--raw of 0 pixels", lambda k: k.track("--raw", "0x0", video="-"), "0x0"),
    Case("--raw of an unknown format", lambda k: k.track("--raw", "64x48:xyz", video="-"), "xyz"),
    Case("a camera that is none", lambda k: k.track(video="camera:77"), "camera"),
    Case("--max-memory 1MB", lambda k: k.track("--max-memory", "1MB"), "1 MB", code=4),
    Case("--max-memory lots", lambda k: k.track("--max-memory", "lots"), "lots"),
    Case("--max-memory -8GB", lambda k: k.track("--max-memory=-8GB"), "-8GB"),
    Case("--set of a name that is none", lambda k: k.track("--set", "topq=5"), "the nearest is 'topk'"),
    Case("--set without a value", lambda k: k.track("--set", "topk"), "give NAME=VALUE"),
    Case("--set out of range", lambda k: k.track("--set", "topk=0"), "topk is 0; give 1 or more"),
    Case("--lost given twice", lambda k: k.track("--lost", "keep", "--set", "lost=empty"), "lost is given twice"),
    Case("--views movie", lambda k: k.track("--views", "movie"), "view 'movie' is not one of overlay"),
    Case("an estimate of a task that is none", lambda k: ["estimate", "trakc", k.clip], "no such command 'trakc'"),
    Case("an option that is none", lambda k: k.track("--fast"), "no such option: --fast"),
    Case("no --out", lambda k: ["track", k.clip, "--mask", k.mask], "missing option '--out'"),
    Case("no video", lambda k: ["track", "--mask", k.mask, "--out", k.out], "missing argument 'video'"),
    Case("a command that is none", lambda k: ["trakc", k.clip], "no such command 'trakc'"),
]

MODELS = [
    Case("a name that is none", lambda k: using(k, "foo"), "no model is called 'foo'"),
    Case("weights that are not here", lambda k: using(k, "sd-2.1"), "the weights of 'sd-2.1'", code=3),
    Case("a folder that does not exist", lambda k: using(k, k.folder / "no"), "<tmp>/no is not a folder", code=3),
    Case("an empty folder", lambda k: using(k, empty(k)), "has no", code=3),
    Case("a video", lambda k: using(k, k.clip), "clip.mp4", code=3),
    Case("no weights", lambda k: using(k, without_weights(k)), "unet", code=3),
    Case("weights as a pickle", lambda k: using(k, pickles_only(k)), "unet", code=3),
    Case("weights half downloaded", lambda k: using(k, half_downloaded(k)), "do not load", code=3),
    Case("weights of 0 bytes", lambda k: using(k, with_bytes(k, b"")), "do not load", code=3),
    Case("a web page for weights", lambda k: using(k, with_bytes(k, b"<html>404</html>" * 9)), "do not load", code=3),
    Case("weights with NaN", lambda k: using(k, with_nan(k)), "NaN or infinite", code=3),
    Case("weights of a LoRA", lambda k: using(k, with_other_weights(k)), "lacks", code=3),
    Case("weights of other shapes", lambda k: using(k, with_other_shapes(k)), "do not load", code=3),
    Case("a config that is no JSON", lambda k: using(k, with_config(k, "unet/config.json", "{")), "JSON", code=3),
    Case("a config that is a list", lambda k: using(k, with_config(k, "unet/config.json", "[]")), "JSON", code=3),
    Case(
        "another class of network",
        lambda k: using(k, with_config(k, "unet/config.json", _class_name="SD3Transformer2DModel")),
        "holds a SD3Transformer2DModel",
    ),
    Case(
        "a prediction type that is none",
        lambda k: using(k, with_config(k, "scheduler/scheduler_config.json", prediction_type="magic")),
        "magic",
    ),
    Case(
        "a config with a size of text",
        lambda k: using(k, with_config(k, "unet/config.json", block_out_channels="wide")),
        "describes no network that can be built",
        code=3,
    ),
]
