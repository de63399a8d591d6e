import numpy as np
import pytest
import torch
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel
from transformers.models.sam2 import Sam2HieraDetConfig, Sam2VisionConfig

from undertow.refinement import Sam2Segmenter, SamSegmenter


@pytest.fixture(scope="session")
def sam_model() -> SamModel:
    """SAM as ViT-H is configured, with windows, global layers and relative positions, at tiny size."""
    torch.manual_seed(0)
    return SamModel(
        SamConfig(
            vision_config={
                "hidden_size": 16,
                "output_channels": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": 128,
                "patch_size": 16,
                "window_size": 3,
                "global_attn_indexes": [1],
                "num_pos_feats": 16,
                "initializer_range": 0.1,
            },
            prompt_encoder_config={"hidden_size": 32, "image_size": 128, "patch_size": 16},
            mask_decoder_config={
                "hidden_size": 32,
                "mlp_dim": 32,
                "num_attention_heads": 2,
                "iou_head_hidden_dim": 32,
            },
            initializer_range=0.1,
        )
    )


@pytest.fixture(scope="session")
def sam2_model() -> Sam2Model:
    torch.manual_seed(0)
    hiera = Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[128, 128],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[8, 4, 8, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
        initializer_range=0.1,
    )
    vision = Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        fpn_hidden_size=32,
        initializer_range=0.1,
    )
    return Sam2Model(
        Sam2Config(
            vision_config=vision,
            prompt_encoder_config={"hidden_size": 32, "image_size": 128, "patch_size": 16},
            mask_decoder_config={
                "hidden_size": 32,
                "mlp_dim": 32,
                "num_attention_heads": 2,
                "iou_head_hidden_dim": 32,
            },
            initializer_range=0.1,
        )
    )


@pytest.fixture(scope="session")
def segmenters(sam_model, sam2_model):
    return {"sam": SamSegmenter(sam_model, "sam"), "sam2": Sam2Segmenter(sam2_model, "sam2")}


@pytest.fixture(scope="session")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 60, 100, 3), dtype=np.uint8)
