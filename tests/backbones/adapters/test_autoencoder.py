"""The encoder of image models: residual blocks in place, and what they give."""

import torch
from diffusers import AutoencoderKL


def test_residual_blocks_in_place_give_the_same_to_the_last_bit(tiny_like):
    ours = tiny_like.autoencoder.module
    stock = AutoencoderKL.from_config(ours.config).eval()
    stock.load_state_dict(ours.state_dict())
    pixels = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    before = pixels.clone()
    with torch.no_grad():
        latents = stock.to(tiny_like.dtype).encode(pixels.to(tiny_like.dtype)).latent_dist.mode().float()
        found = tiny_like.autoencoder.encode(pixels)
    assert torch.equal(found, latents * ours.config.scaling_factor) and torch.equal(pixels, before)
