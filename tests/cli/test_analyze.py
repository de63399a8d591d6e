"""`undertow analyze` and `undertow generate` from end to end, with the model that ships."""

import csv
import json
import sys

import numpy as np
import pytest
from PIL import Image

from undertow import cli
from undertow.backbones import load


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["undertow", *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        cli.main()
        return capsys.readouterr().out

    return run


def test_analyze_writes_a_card_that_works(run, tmp_path):
    pytest.importorskip("matplotlib")
    shown = run(
        "analyze", "tiny", "--worlds", 1, "--frames", 2, "--timesteps", "1,61", "--size", "tokens=150", "--points", 4,
        "--name", "mine", "--out", "out",
    )  # fmt: skip
    out = tmp_path / "out"
    assert shown.startswith("# Which layer of tiny carries motion")
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    # Seven sites with one head each, two timesteps, three things compared.
    assert len(rows) == 7 * 2 * 3 and {row["head"] for row in rows} == {"all"}
    facts = json.loads((out / "analysis.json").read_text())
    best = max((row for row in rows if row["compared"] == "query-key"), key=lambda row: float(row["accuracy"]))
    assert facts["best"]["site"] == best["site"] and 0 <= facts["still"] <= 100
    backbone = load(out / "card.json", device="cpu", dtype="float32")
    assert backbone.card.name == "mine" and backbone.card.noising.timestep == int(best["timestep"])
    (site,) = backbone.card.sites["points"]
    assert site.path == best["site"] and hasattr(backbone.denoiser.get_submodule(site.path), "to_q")
    for name in ("layers-timesteps.png", "layers-timesteps-harmonic.png", "timesteps.png"):
        assert np.asarray(Image.open(out / name)).std() > 10
    # One head per site: a picture of heads would show nothing.
    assert not (out / "layers-heads.png").exists()


def test_with_json_every_line_is_an_event(run, tmp_path):
    shown = run(
        "analyze", "tiny", "--worlds", 1, "--frames", 2, "--timesteps", 1, "--size", "tokens=60", "--points", 2,
        "--out", "out", "--json",
    )  # fmt: skip
    events = [json.loads(line) for line in shown.splitlines()]
    assert events[0]["event"] == "start" and events[-1]["event"] == "report"
    assert (tmp_path / events[-1]["card"]).is_file()


def test_generate_writes_a_picture_and_what_decides_it(run, tmp_path):
    run("generate", "--prompt", "a red disc.", "--model", "tiny", "--size", "64x48", "--steps", 1, "--out", "out")
    picture = np.asarray(Image.open(tmp_path / "out" / "image.png"))
    facts = json.loads((tmp_path / "out" / "generation.json").read_text())
    assert picture.shape == (48, 64, 3)
    assert (
        facts["calls"] == 2 and facts["text_scale"] == 6 and facts["prompt"] == "a red disc." and facts["sites"] == []
    )
    command = [
        "generate",
        "--prompt",
        "a red disc.",
        "--model",
        "tiny",
        "--size",
        "64x48",
        "--steps",
        1,
        "--out",
        "out",
    ]
    run(*command, "--overwrite")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "image.png")), picture)
