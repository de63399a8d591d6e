"""Where time goes: other ways to compute the kernel agree with ours, and every stage is timed in all of its ways."""

import sys
from dataclasses import replace

import pytest
import torch

from families import write_features
from undertow import TrackSettings, cli
from undertow.affinity import compute_affinity, get_preset
from undertow.backbones import load
from undertow.benchmarks.speed.ceiling import Ceiling
from undertow.benchmarks.speed.kernels import dense, dino
from undertow.benchmarks.speed.stages import OURS, time_stages


@pytest.mark.parametrize(("preset", "formula"), [("drift", dense), ("dift", dino), ("dino", dino)])
def test_other_ways_give_the_same_labels(preset, formula):
    generator = torch.Generator().manual_seed(0)
    grid, heads = (6, 8), 2 if preset == "drift" else 1
    frames = [torch.randn(heads, 48, 16, generator=generator) for _ in range(4)]
    labels = torch.rand(3, 2, 48, generator=generator)
    kernel = replace(get_preset(preset).kernel, radius=3, topk=5)
    ours = compute_affinity(frames[0], frames[1:], grid, kernel).apply(labels)
    assert torch.allclose(ours, formula(frames[0], frames[1:], labels, grid, kernel)[0], atol=1e-5)


def test_every_stage_is_timed_in_all_of_its_ways(tiny_like):
    ceiling = Ceiling.measured(torch.device("cpu"), torch.float32, repeats=1)
    settings = TrackSettings(tokens=48, batch=2)
    found = list(time_stages(tiny_like, settings, (48, 64), ceiling, references=2, repeats=1, float32=tiny_like))
    ways = {}
    for each in found:
        ways.setdefault(each.stage, []).append(each.way)
        assert each.seconds > 0 and each.share >= 0 and (each.way != OURS or each.ratio == 1)
    assert ways == {
        "decode": [OURS],
        "write": [OURS],
        "encode": [OURS, "one frame at a time", "float32"],
        "inversion": [OURS],
        "observe": [OURS, "one frame at a time", "the whole network", "float32"],
        "kernel": [OURS, "DINO's and DIFT's order"],
        "objects": [OURS, "each of 2 objects by itself"],
        "refine": [OURS],
    }
    work = {(each.stage, each.way): each.gigaflops for each in found}
    assert work["observe", OURS] < work["observe", "the whole network"]
    assert work["objects", "each of 2 objects by itself"] == pytest.approx(2 * work["objects", OURS])


def test_a_model_without_noise_is_timed_as_far_as_it_goes(tmp_path):
    ceiling = Ceiling(flops=1e9, flops32=1e9, bandwidth=1e9)
    backbone = load(write_features("vit", tmp_path / "vit"), device="cpu", dtype="float32")
    found = time_stages(backbone, TrackSettings(tokens=16, batch=2), (32, 32), ceiling, references=2, repeats=1)
    ways = {(each.stage, each.way) for each in found}
    assert {("observe", OURS), ("kernel", "DINO's and DIFT's order")} <= ways
    assert ("inversion", OURS) not in ways and ("observe", "the whole network") not in ways


def test_a_ceiling_is_what_the_longer_of_two_takes():
    ceiling = Ceiling(flops=100.0, flops32=10.0, bandwidth=1000.0)
    assert ceiling.share(2.0, 100.0, 500.0) == 0.5
    assert ceiling.share(2.0, 100.0, 2000.0) == 1.0
    assert ceiling.share(20.0, 100.0, 0.0, single=True) == 0.5


def test_a_size_that_no_frame_has_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["undertow", "bench", "speed", "--frame", "8x8"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "--frame is '8x8'; give WIDTHxHEIGHT with sides from 32 to 8192" in capsys.readouterr().err
