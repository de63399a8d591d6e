"""Published checkpoints become folders of safetensors; what asks for more than tensors is refused and never runs."""

import argparse
import os
import zipfile
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import load_file

from undertow.backbones.fine_tuning import WEIGHTS, read_fine_tuning
from undertow.base import SettingsError
from undertow.training.rem.checkpoints import convert_checkpoint, read_checkpoint

SETTINGS = argparse.Namespace(lr=1e-5, name="run")


class Runs:
    """What a malicious file would hold."""

    def __reduce__(self):
        return os.mkdir, ("/tmp/undertow-was-here",)


def test_both_layouts_are_converted(tmp_path):
    large = torch.arange(24.0).reshape(4, 6)
    weights = OrderedDict(a=large.T, b=torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16)), c=large[1:, 2:4])
    torch.save({"unet": weights, "args": SETTINGS, "epoch": 3}, tmp_path / "unet.pth")
    about = convert_checkpoint(tmp_path / "unet.pth", "ms", tmp_path / "unet")
    assert about == read_fine_tuning(tmp_path / "unet")
    assert (about.t0_noise, about.window, about.pad_tokens) == ("ddpm", 72, 77)
    found = load_file(tmp_path / "unet" / WEIGHTS)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name].detach()) for name in weights)

    state = {f"backbone.dit.{name}": each for name, each in weights.items()} | {"backbone.vae.x": torch.zeros(1)}
    torch.save({"model_state": state}, tmp_path / "dit.pt")
    about = convert_checkpoint(tmp_path / "dit.pt", "wan2.1-14b", tmp_path / "dit")
    assert (about.t0_noise, about.window, about.target) == ("none", 73, "direct")
    assert load_file(tmp_path / "dit" / WEIGHTS).keys() == weights.keys()


def test_what_runs_something_is_refused(tmp_path):
    torch.save({"unet": {"a": torch.zeros(1), "b": Runs()}}, tmp_path / "bad.pth")
    with pytest.raises(SettingsError, match=r"is not read: it asks for 'posix\.mkdir'"):
        read_checkpoint(tmp_path / "bad.pth")
    assert not os.path.exists("/tmp/undertow-was-here")


def test_damage_is_said_in_a_sentence(tmp_path):
    torch.save({"unet": {"a": torch.zeros(64)}}, tmp_path / "whole.pth")
    raw = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(raw[: len(raw) // 2])
    (tmp_path / "text.pth").write_text("hello")
    with zipfile.ZipFile(tmp_path / "whole.pth") as whole, zipfile.ZipFile(tmp_path / "short.pth", "w") as short:
        for entry in whole.infolist():
            data = whole.read(entry)
            short.writestr(entry.filename, data[:8] if "/data/" in entry.filename else data)
    for name in ("cut", "text", "short", "absent"):
        with pytest.raises(SettingsError, match=f"{name}.pth"):
            read_checkpoint(tmp_path / f"{name}.pth")
    torch.save({"other": {"a": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(SettingsError, match="no denoiser under 'unet' or 'model_state'"):
        convert_checkpoint(tmp_path / "other.pth", "x", tmp_path / "out")
