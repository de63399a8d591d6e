import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow.backbones import Card, ImageUNet, Site, random_backbone
from undertow.backbones.published import Architecture

# The real classes, two levels deep: latents of stride 2, self-attention at strides 2 (two per decoder block) and 4.
ARCHITECTURE = Architecture(
    denoiser=(
        "UNet2DConditionModel",
        {
            "sample_size": 8,
            "block_out_channels": (32, 64),
            "layers_per_block": 1,
            "down_block_types": ("CrossAttnDownBlock2D",) * 2,
            "up_block_types": ("CrossAttnUpBlock2D",) * 2,
            "attention_head_dim": (2, 4),
            "cross_attention_dim": 32,
            "norm_num_groups": 8,
        },
    ),
    vae=(
        "AutoencoderKL",
        {
            "block_out_channels": (8, 16),
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
            "norm_num_groups": 4,
            "scaling_factor": 0.18215,
        },
    ),
    scheduler={
        "_class_name": "DDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
        "steps_offset": 1,
        "set_alpha_to_one": False,
        "clip_sample": False,
    },
    text=(9, 32),
)
FIRST = Site("up_blocks.1.attentions.0.transformer_blocks.0.attn1", "self", 2, 16, 2)
SECOND = Site("up_blocks.1.attentions.1.transformer_blocks.0.attn1", "self", 2, 16, 2)
CARD = Card(
    name="test",
    hub_ids=("someone/test-model", "mirror/test-model"),
    licence="none",
    prediction="v_prediction",
    token_budget=64,
    latent_stride=2,
    sites={"track": (FIRST, SECOND)},
    window_radius=2,
    window_grid=(8, 8),
)


def _model(prediction: str, **options: object) -> ImageUNet:
    architecture = replace(ARCHITECTURE, scheduler={**ARCHITECTURE.scheduler, "prediction_type": prediction})
    card = replace(CARD, prediction=prediction)
    return random_backbone(card, seed=3, architecture=architecture, **options)


@pytest.fixture(scope="session")
def model() -> ImageUNet:
    return _model("v_prediction")


@pytest.fixture(scope="session")
def epsilon_model() -> ImageUNet:
    return _model("epsilon")


@pytest.fixture(scope="session")
def bf16_model() -> ImageUNet:
    return _model("v_prediction", dtype=torch.bfloat16)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def latents(model: ImageUNet, images: np.ndarray) -> torch.Tensor:
    # Encodings of an untrained autoencoder are nearly constant; unit variance exercises the denoiser as real ones do.
    encoded = model.encode(images)
    return encoded / encoded.std()


@pytest.fixture(scope="session")
def sites() -> tuple[Site, Site]:
    return FIRST, SECOND


@pytest.fixture(scope="session")
def saved(model: ImageUNet, tmp_path_factory: pytest.TempPathFactory):
    """A folder in the diffusers layout, as `save_pretrained` writes it."""
    from diffusers import DDIMScheduler

    folder = tmp_path_factory.mktemp("saved") / "my-model"
    tokenizer, encoder = model._load_text()
    model.denoiser.save_pretrained(folder / "unet")
    model.autoencoder.module.save_pretrained(folder / "vae")
    encoder.save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    scheduler = {name: value for name, value in ARCHITECTURE.scheduler.items() if name != "_class_name"}
    DDIMScheduler(**scheduler).save_pretrained(folder / "scheduler")
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    """A copy of the saved folder, to damage."""
    import shutil

    return shutil.copytree(saved, tmp_path / "copy")


@pytest.fixture(scope="session")
def card() -> Card:
    return CARD


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    """A hub on this machine, without repositories yet; waits between attempts are shortened."""
    import importlib.util
    from pathlib import Path
    from types import SimpleNamespace

    from huggingface_hub import close_session, file_download

    # Tests are no package, so that a module of theirs is loaded by its path.
    spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).with_name("hub_server.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    monkeypatch.setattr("undertow.backbones.weights.hub.RETRY_WAITS", (0.0, 0.0))
    # It is on this machine, so that asking it is right even where the environment forbids the real one.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=lambda _: None))
    server = module.Hub()
    server.Repository, server.COMMIT = module.Repository, module.COMMIT
    yield server
    close_session()
    server.close()
