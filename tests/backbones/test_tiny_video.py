"""The embedded video transformer: what ships, and that it finds points which controls lose."""

import json

import numpy as np
import pytest
import torch

from undertow.backbones import get_card, load
from undertow.backbones.sampling.guidance import SamplingSettings, sample
from undertow.backbones.weights.locating import embedded_folder
from undertow.training.video_validation import VideoValidation, control_scores, validate_video, validation_clips


@pytest.fixture(scope="module")
def folder():
    return embedded_folder(get_card("tiny-video"))


def test_what_ships_is_small_and_safe(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 14e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md"}
    assert {"README.md", "PHOTOGRAPHS.md", "training.json", "model_index.json"} <= {path.name for path in files}


def test_the_card_reads_the_block_that_was_best_on_validation_clips(folder):
    facts = json.loads((folder / "training.json").read_text())
    (site,) = get_card("tiny-video").sites["track"]
    for kind, scores in facts["validation"].items():
        assert site.path == f"transformer_blocks.{int(np.argmax(scores))}.attn1", kind
    backbone = load("tiny-video")
    assert site in backbone.sites() and len(backbone.sites()) == facts["recipe"]["shape"]["layers"]


def test_it_finds_points_better_than_raw_latents_and_standing_still():
    """On held-out worlds, as its recipe scores checkpoints, from what ships."""
    backbone = load("tiny-video", dtype=torch.float32)
    validation = VideoValidation(families=("plain", "camera", "mixed"), frames=4)
    clips = validation_clips(validation)
    vae, text = backbone.autoencoder.module, backbone.condition("").tensor[None]
    scores = validate_video(backbone.denoiser, vae, text.reshape(1, -1, text.shape[-1]), clips, validation)
    controls = control_scores(vae, clips)
    best = scores[int(get_card("tiny-video").sites["track"][0].path.split(".")[1])]
    assert best > controls["still"] and best > controls["latents"]


def test_it_makes_clips():
    made = sample(load("tiny-video"), "a red disc.", frames=2, size=(64, 64), settings=SamplingSettings(steps=2))
    assert made.latents.shape == (2, 4, 16, 16) and torch.isfinite(made.latents).all()
