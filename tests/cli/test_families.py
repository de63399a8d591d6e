"""Every command that reads a model runs to its end on every family of models."""

import json
import shutil

import pytest

from families import FEATURES, PIXELS
from undertow import cli
from undertow.masks import write_label_map
from undertow.video import write_video
from undertow.world import crossing_scene

FRAMES = 4
# One of each architecture, and those that differ from it in little.
FAMILIES = (
    "sd-1.5",
    "svd",
    "cogvideox-2b",
    "cogvideox-5b-i2v",
    "hunyuan-video",
    "wan2.2",
    "flux.1-schnell",
    "sd-3-medium",
    "dinov3_vit",
    "adm-256",
)
SIMILAR = (
    "sdxl",
    "sd-2.1",
    "cogvideox-5b",
    "wan2.1-1.3b",
    "flux.1-dev",
    "sd-3.5-medium",
    "cogvideox-1.5-5b",
    "mochi-1",
    "ltx-video",
    "flux.2-klein-4b",
    "cosmos-predict2-2b",
    "adm-512",
    "vit",
    "dinov2",
    "dinov2_with_registers",
    "radio",
)
# What is typed before --model, and the files in the folder --out, or the one file that it is.
COMMANDS = {
    "track": ("track CLIP --mask MASK", {"masks", "masks.json", "overlay.mp4", "run.json", "scores.csv"}),
    "parse": ("parse CLIP --clusters 4", {"labels.json", "masks", "names.json", "overlay.mp4", "run.json"}),
    "points": ("points CLIP --grid 2", {"overlay.mp4", "run.json", "tapvid.npz", "tracks.csv", "tracks.npz"}),
    "estimate": ("estimate track CLIP --mask MASK --json", None),
    "inspect": ("inspect CLIP --at 20,20", "picture.png"),
    "refer": (
        "refer CLIP --text kite --pivots 1",
        {"masks", "masks.json", "overlay.mp4", "run.json", "words.json"},
    ),
    "analyze": (
        f"analyze --worlds 1 --frames {FRAMES} --points 3 --timesteps 1 --no-features",
        {"analysis.json", "card.json", "table.csv", "table.md"},
    ),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The folder of a clip and its first label map."""
    drawn = crossing_scene(height=32, width=48, frames=24)
    pictures = [drawn.picture(2.0 * index) for index in range(FRAMES)]
    folder = tmp_path_factory.mktemp("clip")
    write_video(folder / "clip.mp4", [picture.image for picture in pictures], fps=24)
    write_label_map(folder / "first.png", pictures[0].labels)
    return folder


@pytest.fixture(scope="module")
def model(family_folder, tmp_path_factory):
    """Returns the folder of a small model; Wan 2.2 has a second denoiser for the lower noise levels."""

    def model(family):
        if family != "wan2.2":
            return family_folder(family)
        folder = tmp_path_factory.mktemp("wan2.2") / "model"
        shutil.copytree(family_folder("wan2.1-1.3b"), folder)
        shutil.copytree(folder / "transformer", folder / "transformer_2")
        (folder / "model_index.json").write_text(json.dumps({"boundary_ratio": 0.875}))
        return folder

    return model


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("family", [*FAMILIES, *(pytest.param(each, marks=pytest.mark.slow) for each in SIMILAR)])
def test_every_command_runs(family, command, clip, model, tmp_path, monkeypatch, capsys):
    """Models are given as folders, without a card file, and so read at one generic site."""
    typed, expected = COMMANDS[command]
    files = {"CLIP": clip / "clip.mp4", "MASK": clip / "first.png"}
    words = [str(files.get(word, word)) for word in typed.split()]
    words += [str(model(family))] if command == "analyze" else ["--model", str(model(family))]
    out = tmp_path / (expected if isinstance(expected, str) else "out")
    words += ["--threads", "1", "--size", "tokens=64", *(["--out", str(out)] if expected else [])]
    monkeypatch.setattr("sys.argv", ["undertow", *words])
    if command == "refer" and family in ("svd", *PIXELS, *FEATURES):
        with pytest.raises(SystemExit):
            cli.main()
        assert " no text" in capsys.readouterr().err
        return
    cli.main()
    if expected is None:
        assert json.loads(capsys.readouterr().out)["frames"] == FRAMES
    elif isinstance(expected, str):
        assert out.stat().st_size
    else:
        assert {path.name for path in out.iterdir()} >= expected
