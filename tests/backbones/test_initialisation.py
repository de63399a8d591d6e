"""Attention that starts as a matcher."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from undertow.backbones import matcher_start

SHAPE = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (1, 2),
    "cross_attention_dim": 32,
    "norm_num_groups": 8,
}


def self_attentions(unet):
    return {name: module for name, module in unet.named_modules() if name.endswith("attn1")}


@pytest.mark.parametrize("logit", [5.0, 2.0])
def test_a_token_matches_itself_with_the_logit_asked_for(logit):
    unet = UNet2DConditionModel(**SHAPE)
    matcher_start(unet, 0, logit)
    tokens = torch.nn.functional.layer_norm(torch.randn(50, 64), (64,))
    for attention in self_attentions(unet).values():
        queries, keys = (proj(tokens).view(50, 2, 32).transpose(0, 1) for proj in (attention.to_q, attention.to_k))
        logits = queries @ keys.transpose(1, 2) / 32**0.5
        # Eps in the layer norm takes a hundred-thousandth off.
        torch.testing.assert_close(logits.diagonal(dim1=1, dim2=2).mean(0), torch.full((50,), logit), rtol=1e-3, atol=0)
        off_diagonal = logits - torch.diag_embed(logits.diagonal(dim1=1, dim2=2))
        assert off_diagonal.mean().abs() < 0.1 * logit


def test_it_is_a_function_of_the_seed_and_touches_self_attention_only():
    torch.manual_seed(0)
    one = UNet2DConditionModel(**SHAPE)
    torch.manual_seed(0)
    two = UNet2DConditionModel(**SHAPE)
    before = {name: weight.clone() for name, weight in two.named_parameters()}
    matcher_start(one, 4)
    matcher_start(two, 4)
    others = dict(two.named_parameters())
    assert all(torch.equal(weight, others[name]) for name, weight in one.named_parameters())
    changed = {name for name, weight in one.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {f"{name}.{side}.weight" for name in self_attentions(one) for side in ("to_q", "to_k")}
    matcher_start(two, 5)
    assert not torch.equal(
        one.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight,
        two.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight,
    )
