"""Training a generator to answer with masks: losses fall, what is cut goes on, kinds of weights, several processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from families import write_clip, write_family
from undertow.backbones import load
from undertow.base import SettingsError
from undertow.training.learner import Learner
from undertow.training.rem.memory import training_memory
from undertow.training.rem.recipe import train_rem
from undertow.training.rem.settings import RemSettings
from undertow.training.rem.worlds import World

pytest.importorskip("accelerate", reason="training needs accelerate")

WORLD = World(count=4, frames=3, size=(32, 48))
OPTIONS = {"steps": 6, "batch": 2, "image_batch": 2, "frames": 3, "size": (48, 32), "rate": 1e-3, "warmup": 1}
# What another process does: a run of its own, or its part of one of several processes.
CODE = """
import logging
import sys
import torch
torch.set_num_threads(1)
logging.basicConfig(level=logging.INFO)
from pathlib import Path
from undertow.training.rem.recipe import train_rem
from undertow.training.rem.settings import RemSettings
from undertow.training.rem.worlds import World
base, work, out, steps = sys.argv[1:]
settings = RemSettings(steps=int(steps), batch=2, image_batch=2, frames=3, size=(48, 32), rate=1e-3, warmup=1,
                       bfloat16=False)
train_rem(base, [World(count=4, frames=3, size=(32, 48))], Path(work), Path(out), settings, save_every=2, device="cpu")
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = write_family("tiny-video", tmp_path_factory.mktemp("models") / "base", seed=1)
    # Its tokenizer spells, and expressions are long.
    for part in ("tokenizer", "text_encoder"):
        shutil.rmtree(folder / part)
    write_clip(folder, length=77)
    return folder


def learned(folder):
    return load(folder, device="cpu", dtype="float32").denoiser.state_dict()


def losses(work):
    lines = [json.loads(line) for line in (work / "steps.jsonl").read_text().splitlines()]
    return [next(value for name, value in line.items() if "loss" in name) for line in lines]


def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(base, tmp_path, monkeypatch):
    settings = RemSettings(**OPTIONS, validate_every=3)
    look = World(count=1, frames=3, size=(32, 48), first=7, name="look")

    def train(name):
        folders = (tmp_path / name, tmp_path / f"{name}-out")
        return train_rem(base, [WORLD], *folders, settings, validation=look, save_every=2, device="cpu")

    assert train("whole")
    update, calls = Learner.update, iter(range(100))

    def cut(self, *args, **options):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return update(self, *args, **options)

    monkeypatch.setattr(Learner, "update", cut)
    with pytest.raises(KeyboardInterrupt):
        train("cut")
    monkeypatch.undo()
    assert train("cut")
    one, other = learned(tmp_path / "whole-out"), learned(tmp_path / "cut-out")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut") and len(losses(tmp_path / "cut")) == 6
    before = load(base, device="cpu", dtype="float32").denoiser.state_dict()
    assert any(not torch.equal(one[name], before[name]) for name in one)
    looks = [json.loads(line) for line in (tmp_path / "whole/validation.jsonl").read_text().splitlines()]
    assert [each["step"] for each in looks] == [3, 6] and all(0 <= each["J"] <= 1 for each in looks)
    with pytest.raises(SettingsError, match="other settings"):
        train_rem(base, [WORLD], tmp_path / "cut", tmp_path / "x", RemSettings(**OPTIONS | {"seed": 1}), device="cpu")


@pytest.mark.parametrize("train", ["attention", "lora"])
def test_only_what_is_trained_changes(train, base, tmp_path):
    if train == "lora":
        pytest.importorskip("peft", reason="pairs need peft")
    settings = RemSettings(**OPTIONS | {"steps": 2}, train=train, rank=2, average=1, checkpointing=True)
    assert train_rem(base, [WORLD], tmp_path / "work", tmp_path / "out", settings, device="cpu")
    before, after = load(base, device="cpu", dtype="float32").denoiser.state_dict(), learned(tmp_path / "out")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(".attn1." in name for name in changed)


def test_the_loss_falls_on_a_few_examples(base, tmp_path):
    settings = RemSettings(**OPTIONS | {"steps": 40, "rate": 5e-3}, target="residual", mask_range="-1..1", images=1.0)
    world = World(count=1, frames=3, size=(32, 48), expressions=1, absent=0.0)
    assert train_rem(base, [world], tmp_path / "work", tmp_path / "out", settings, device="cpu")
    found = losses(tmp_path / "work")
    assert np.mean(found[-5:]) < 0.6 * found[0]
    assert load(tmp_path / "out", device="cpu", sites="track").fine_tuning.timestep == 1000


def test_memory_is_counted_from_shapes():
    full, attention = (training_memory("wan2.1-1.3b", RemSettings(train=kind)) for kind in ("full", "attention"))
    assert 1.3e9 < full.trained + full.frozen < 1.5e9
    # Weights, gradients and moments of 1.4 billion numbers in float32 are 22.7 GB, as the paper's recipe has them.
    assert full.parts["moving average"] == 4 * full.trained
    states = sum(full.parts[name] for name in ("trained weights", "their gradients", "moments of AdamW"))
    assert states == 16 * full.trained and 20e9 < states < 24e9
    assert (attention.total < full.total and not full.cards) or min(full.cards) >= 48
    shared = training_memory("wan2.1-1.3b", RemSettings(), processes=4)
    assert shared.parts["moments of AdamW"] * 4 == full.parts["moments of AdamW"]
    assert shared.parts["activations"] == full.parts["activations"] and shared.total < full.total


@pytest.mark.parametrize("model", ["tiny", "svd", "dinov2-s", "flux.1-schnell"])
def test_memory_is_known_of_video_transformers_alone(model):
    with pytest.raises(SettingsError, match="no video transformer"):
        training_memory(model, RemSettings())


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_it_had_not_been(base, tmp_path):
    def command(name):
        return [sys.executable, "-c", CODE, str(base), str(tmp_path / name), str(tmp_path / f"{name}-out"), "12"]

    subprocess.run(command("whole"), check=True, capture_output=True)
    random, killed = np.random.default_rng(0), 0
    while killed < 4:
        process = subprocess.Popen(command("cut"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun = time.monotonic()
        while not (tmp_path / "cut/steps.jsonl").exists() and time.monotonic() - begun < 300:
            time.sleep(0.05)
        time.sleep(float(random.uniform(0, 2)))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed += 1
    assert killed
    subprocess.run(command("cut"), check=True, capture_output=True)
    one, other = learned(tmp_path / "whole-out"), learned(tmp_path / "cut-out")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")


@pytest.fixture(scope="module")
def alone(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    run_processes(base, folder, 1)
    return folder


def run_processes(base, folder, processes, **more):
    """Takes ten steps in `folder`, in processes that share each batch; returns what they said."""
    port, started, said = 20000 + os.getpid() % 20000, [], ""
    for rank in range(processes):
        world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        several = {name: str(value) for name, value in world.items()} | {"MASTER_ADDR": "127.0.0.1"}
        environment = os.environ | (several if processes > 1 else {}) | {"ACCELERATE_USE_CPU": "true"} | more
        command = [sys.executable, "-c", CODE, str(base), str(folder / "work"), str(folder / "out"), "10"]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE))
    for process in started:
        _, error = process.communicate(timeout=900)
        assert process.returncode == 0, error.decode()[-2000:]
        said += error.decode()
    return said


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["false", "true"], ids=["copies", "shards"])
def test_two_processes_take_the_steps_of_one(sharing, base, alone, tmp_path):
    # As `accelerate launch --use_fsdp` sets them.
    said = run_processes(base, tmp_path, 2, ACCELERATE_USE_FSDP=sharing, FSDP_CPU_RAM_EFFICIENT_LOADING=sharing)
    assert said.count("holds a share of the weights") == (2 if sharing == "true" else 0)
    assert np.allclose(losses(alone / "work"), losses(tmp_path / "work"), rtol=1e-4)
    one, two = (load_file(folder / "work/steps.safetensors") for folder in (alone, tmp_path))
    assert one.keys() == two.keys() and all(torch.allclose(one[name], two[name], atol=1e-3) for name in one)


@pytest.mark.slow
def test_shares_of_weights_are_read_and_gathered_as_they_were(base, alone, tmp_path):
    shutil.copytree(alone / "work", tmp_path / "work")
    run_processes(base, tmp_path, 2, ACCELERATE_USE_FSDP="true")
    one, two = learned(alone / "out"), learned(tmp_path / "out")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_image_model_learns_from_sheets_and_is_trained_further(tmp_path):
    base = write_family("sd-3-medium", tmp_path / "base", seed=1)
    settings = RemSettings(**OPTIONS, sheet=True, pad_tokens=40)
    with pytest.raises(SettingsError, match=r"give --set pad_tokens=N"):
        train_rem(base, [WORLD], tmp_path / "w", tmp_path / "o", replace(settings, pad_tokens=None), device="cpu")
    assert train_rem(base, [WORLD], tmp_path / "work", tmp_path / "out", settings, device="cpu")
    once = load(tmp_path / "out", device="cpu", dtype="float32")
    table, old = (each.denoiser.pos_embed.pos_embed for each in (once, load(base, device="cpu", dtype="float32")))
    side, rows = once.denoiser.pos_embed.pos_embed_max_size, settings.size[1] // once.multiple
    table, old = (each.unflatten(1, (side, side)) for each in (table, old))
    middle = slice((side - rows) // 2, (side - rows) // 2 + rows)
    assert torch.equal(table[:, middle], old[:, middle])
    for frame, first in ((0, middle.start - rows), (2, middle.stop)):
        moved = table[:, first : first + rows] - old[:, middle]
        assert torch.allclose(moved, moved[:, :1, :1].expand_as(moved), atol=1e-5), frame
        assert float(moved.norm(dim=-1).mean()) > 0.1
    again = [tmp_path / "work-2", tmp_path / "out-2"]
    assert train_rem(tmp_path / "out", [WORLD], *again, replace(settings, steps=1), device="cpu")
    assert load(again[1]).fine_tuning.backbone == str(base)
    with pytest.raises(SettingsError, match="trained further with train=full"):
        train_rem(
            tmp_path / "out", [WORLD], tmp_path / "w", tmp_path / "o", replace(settings, train="lora"), device="cpu"
        )
    with pytest.raises(SettingsError, match="no middle frame"):
        train_rem(base, [WORLD], tmp_path / "w2", tmp_path / "o", replace(settings, frames=4), device="cpu")
