import torch

from undertow.training.architecture import DenoiserShape, build_denoiser, project_matchers, tie_matchers, untie_matchers
from undertow.training.learner import Learner

SMALL = DenoiserShape((16, 32, 32), (1, 1, 1))


def attentions(unet):
    return [module for name, module in unet.named_modules() if name.endswith("attn1")]


def trained(steps=3):
    unet = build_denoiser(0, SMALL)
    tie_matchers(unet)
    learner = Learner({"unet": unet}, rate=1e-2)
    for step in range(steps):
        generator = torch.Generator().manual_seed(step)
        latents = torch.randn(2, 4, 8, 8, generator=generator)
        text = torch.randn(2, 5, 64, generator=generator)
        learner.update(unet(latents, 100, text).sample.square().mean(), 100, warmup=1)
        project_matchers(unet)
    return unet, learner


def test_queries_and_keys_stay_one_multiple_of_an_orthogonal_matrix():
    start = build_denoiser(0, SMALL)
    unet, _ = trained()
    for attention, before in zip(attentions(unet), attentions(start), strict=True):
        weight = attention.to_q.weight
        assert attention.to_k.weight is weight
        assert not torch.allclose(weight, before.to_q.weight, atol=1e-3)
        gram = weight @ weight.T
        torch.testing.assert_close(gram, torch.eye(32) * gram.diagonal().mean(), atol=1e-4, rtol=0)


def test_every_token_has_queries_of_the_same_length():
    unet, _ = trained()
    block = unet.down_blocks[1].attentions[0].transformer_blocks[0]
    states = torch.randn(1, 12, 32, generator=torch.Generator().manual_seed(5)) * torch.rand(
        1, 12, 1, generator=torch.Generator().manual_seed(6)
    )
    lengths = block.attn1.to_q(block.norm1(states)).norm(dim=-1)
    assert float((lengths.std() / lengths.mean()).detach()) < 1e-2


def test_projection_finds_the_nearest():
    unet = build_denoiser(0, SMALL)
    weight = attentions(unet)[0].to_q.weight
    with torch.no_grad():
        weight.copy_(torch.randn(32, 32, generator=torch.Generator().manual_seed(1)))
    wanted = weight.clone()
    project_matchers(unet)
    found = attentions(unet)[0].to_q.weight.detach()
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        other = torch.empty(32, 32)
        torch.nn.init.orthogonal_(other, gain=float(found.norm() / 32**0.5), generator=generator)
        assert (found - wanted).norm() < (other - wanted).norm()


def test_frozen_norms_are_neither_trained_nor_kept():
    _, learner = trained()
    assert not any("norm1" in name and "transformer_blocks" in name for name in learner.parameters)
    assert any("norm2" in name for name in learner.parameters)


def test_untied_weights_are_equal_but_apart():
    unet, _ = trained(1)
    untie_matchers(unet)
    for attention in attentions(unet):
        assert attention.to_k.weight is not attention.to_q.weight
        assert torch.equal(attention.to_k.weight, attention.to_q.weight)
