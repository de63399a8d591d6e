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

# Threads that wait for each other on a crowded machine cost more than they give: whoever says how many is heard.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or min(2, os.cpu_count() or 1)))


@pytest.fixture(scope="session")
def tiny_like():
    """A model of the embedded one's shape, thinner and untrained but for the matcher start: every path is real."""
    from undertow.backbones import get_card, matcher_start, random_backbone
    from undertow.backbones.published import Architecture
    from undertow.training.architecture import build_scheduler

    unet = {
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
    }
    vae = {
        "block_out_channels": (8, 8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "mid_block_add_attention": False,
    }
    scheduler = dict(build_scheduler().config)
    architecture = Architecture(("UNet2DConditionModel", unet), ("AutoencoderKL", vae), scheduler, (16, 32))
    backbone = random_backbone(get_card("tiny"), seed=0, architecture=architecture)
    matcher_start(backbone.denoiser, seed=0)
    return backbone


@pytest.fixture(scope="session")
def tiny_video_like():
    """A video transformer of the shape of `tiny-video`, thinner and untrained: 3 blocks, 2 heads of 16, 13 latents."""
    from families import small_backbone

    return small_backbone("tiny-video", seed=0)


@pytest.fixture(scope="session")
def small_svd():
    """Stable Video Diffusion in miniature with random weights: the real classes, latents of stride 2."""
    from dataclasses import replace

    import torch

    from undertow.backbones import Site, get_card, random_backbone
    from undertow.backbones.published import Architecture

    def site(up: int, index: int, stride: int, inner: str = "transformer_blocks", kind: str = "self") -> Site:
        return Site(f"up_blocks.{up}.attentions.{index}.{inner}.0.attn1", kind, 2, 16 * (2 - up), stride)

    architecture = Architecture(
        (
            "UNetSpatioTemporalConditionModel",
            {
                "block_out_channels": (32, 64),
                "down_block_types": ("CrossAttnDownBlockSpatioTemporal",) * 2,
                "up_block_types": ("CrossAttnUpBlockSpatioTemporal",) * 2,
                "layers_per_block": 1,
                "num_attention_heads": (2, 2),
                "cross_attention_dim": 32,
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 24,
            },
        ),
        (
            "AutoencoderKLTemporalDecoder",
            {
                "block_out_channels": (32, 32),
                "down_block_types": ("DownEncoderBlock2D",) * 2,
                "layers_per_block": 1,
            },
        ),
        {},
        (1, 32),
        image_encoder={
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "projection_dim": 32,
        },
    )
    sites = {
        "track": (site(1, 0, 2),),
        "parse": (site(1, 0, 2), site(1, 1, 2)),
        "correspond": (site(1, 0, 2),),
        "modulate": (site(0, 1, 4), site(0, 1, 4, "temporal_transformer_blocks", "temporal")),
    }
    card = replace(get_card("svd"), latent_stride=2, token_budget=64, sites=sites)
    model = random_backbone(card, seed=0, architecture=architecture)
    with torch.no_grad():
        for name, parameter in model.denoiser.named_parameters():
            # As after training: the mixture of space and time differs from block to block, and attention is sharp.
            if name.endswith("mix_factor"):
                parameter.fill_(0.3 * len(name) % 2 - 1)
            if "to_q" in name or "to_k" in name:
                parameter.mul_(4)
    return model


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory):
    """Returns the folder of a small model of a family (a key of `families.FAMILIES`), to be read and not changed.

    Its `card.json` is a card file with the sites of the published model's card, at their places in the small one.
    """
    from functools import cache

    from families import write_family

    return cache(lambda name: write_family(name, tmp_path_factory.mktemp("families") / name))


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
def process_as_before():
    """No test changes what later ones of this process run on: torch's number type and threads, and scheduling.

    The command line sets threads for its whole process. A library that makes its caller's thread a real-time one (an
    encoder of AV1 does) stops programs that start from there: their threads wait in loops for one that never runs.
    """
    threads, scheduling = torch.get_num_threads(), _scheduling()
    yield
    torch.set_num_threads(threads)
    assert torch.get_default_dtype() == torch.float32
    assert _scheduling() == scheduling


def _scheduling():
    return os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None
