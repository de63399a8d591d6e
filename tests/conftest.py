"""What several rooms' tests share: a small model with random weights and real classes, and where real video lies."""

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Continuous integration asks the same questions every time; everywhere else, hypothesis looks where it has not yet.
settings.register_profile("fixed", derandomize=True)
if os.environ.get("UNDERTOW_CI") == "1":
    settings.load_profile("fixed")

torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(scope="session")
def tiny_like():
    """A model of the embedded one's shape, thinner and untrained but for the matcher start: every path is real."""
    from undertow.backbones import get_card, matcher_start, random_backbone
    from undertow.backbones.published import Architecture
    from undertow.training.architecture import build_scheduler

    architecture = Architecture(
        unet={
            "sample_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": (32, 128, 128),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": (1, 1, 1),
            "cross_attention_dim": 32,
            "use_linear_projection": True,
            "norm_num_groups": 16,
        },
        vae={
            "block_out_channels": (8, 8, 8),
            "down_block_types": ("DownEncoderBlock2D",) * 3,
            "up_block_types": ("UpDecoderBlock2D",) * 3,
            "layers_per_block": 1,
            "latent_channels": 4,
            "norm_num_groups": 4,
            "mid_block_add_attention": False,
        },
        scheduler=dict(build_scheduler().config),
        text_length=16,
    )
    backbone = random_backbone(get_card("tiny"), seed=0, architecture=architecture)
    matcher_start(backbone.unet, seed=0)
    return backbone


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real annotated sequences; tests that ask for it are skipped where there is none."""
    folder = Path(os.environ.get("UNDERTOW_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
    if not any(folder.glob("davis-*/frames")):
        pytest.skip(f"no real sequences: {folder} has no davis-*/frames (set UNDERTOW_DATA)")
    return folder


@pytest.fixture
def interruptible():
    """Ctrl-C reaches this process, also where a shell that started it in the background made it deaf to that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def number_type():
    """No test leaves torch with another default number type, as libraries do when reading weights fails."""
    yield
    assert torch.get_default_dtype() == torch.float32
