"""Pushing labels in the network: the short way equals the long one, on the real classes."""

from dataclasses import replace

import pytest
import torch
from diffusers import Transformer2DModel

from undertow.backbones import Site
from undertow.backbones.reading.edits import AddMap, Inject, edited, module_at, recording
from undertow.base import SettingsError
from undertow.parsing.modulation import decoder_sites, modulated_sites, one_hot, present, push_direction
from undertow.parsing.perturbation import Level, Pushes, blank, blend
from undertow.parsing.settings import Modulation, sampling_steps

CLOSE = 1e-4


def _site(up, index, name="attn2", inner="transformer_blocks", kind="cross"):
    return Site(f"up_blocks.{up}.attentions.{index}.{inner}.0.{name}", kind, 1, 128, 8)


CROSS = _site(1, 0)
SELF = _site(1, 0, "attn1", kind="self")


@pytest.fixture(scope="module")
def latents():
    return torch.randn(3, 4, 8, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def masks():
    """Three labels on the grid of stride 8: the third is in one frame only, and the last frame has one label."""
    columns = torch.arange(8).expand(3, 4, 8)
    labels = (columns > 3).long()
    labels[1, 2:, 5:] = 2
    labels[2] = 0
    return one_hot(torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float())


@pytest.mark.parametrize("site", [CROSS, SELF, _site(0, 1), _site(1, 1)], ids=lambda site: site.path)
def test_a_push_is_a_rank_one_change_of_the_block(tiny_like, latents, site):
    block = site.path.partition(".transformer_blocks")[0]
    trace = tiny_like.trace(latents, 121, block=block)
    size = trace.output.shape[2] * trace.output.shape[3]
    push = 50.0 * (torch.rand(3, size, generator=torch.Generator().manual_seed(1)) > 0.5)
    long = tiny_like.denoise(latents, 121, edits=[AddMap(site.path, push)])
    direction = push_direction(module_at(tiny_like.denoiser, block), [site])
    short = trace.rest(torch.arange(3), AddMap(block, push, direction), inject=False)
    assert (long - trace.prediction).abs().max() > 0.1, "the push matters"
    torch.testing.assert_close(short, long, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("linear", [True, False])
def test_the_last_map_may_be_a_convolution(linear):
    torch.manual_seed(0)
    block = Transformer2DModel(
        2, 8, in_channels=16, cross_attention_dim=4, norm_num_groups=4, use_linear_projection=linear
    ).eval()
    hidden, text = torch.randn(1, 16, 3, 5), torch.randn(1, 2, 4)
    push = torch.linspace(-50, 50, 15)[None]
    direction = push_direction(block, [CROSS])
    with torch.no_grad():
        plain = block(hidden, text, return_dict=False)[0]
        with edited(block, [AddMap("transformer_blocks.0.attn2", push)]):
            pushed = block(hidden, text, return_dict=False)[0]
    expected = plain + direction.view(1, -1, 1, 1) * push.view(1, 1, 3, 5)
    torch.testing.assert_close(pushed, expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("kinds", [("self",), ("temporal",), ("self", "temporal")])
def test_space_and_time_share_a_push(small_svd, kinds):
    """Factors 1, 1 - α and 2 - α, with the α of the block."""
    clip = torch.randn(3, 4, 8, 12, generator=torch.Generator().manual_seed(2))
    sites = [site for site in small_svd.card.sites["modulate"] if site.kind in kinds]
    block = "up_blocks.0.attentions.1"
    trace = small_svd.trace(clip, 294, block=block)
    push = 20 * torch.rand(3, 24, generator=torch.Generator().manual_seed(3))
    edits = [AddMap(site.path, push, clip=3 if site.kind == "temporal" else None) for site in sites]
    long = small_svd.denoise(clip, 294, edits=edits)
    direction = push_direction(module_at(small_svd.denoiser, block), sites)
    short = trace.rest(torch.arange(3), AddMap(block, push, direction), inject=False)
    assert (long - trace.prediction).abs().max() > 0.05, "the push matters"
    torch.testing.assert_close(short, long, rtol=0, atol=CLOSE)


def _straight(backbone, modulation, latents, masks, label, frames, sign, conditioning):
    """VidSeg's part 2 as it is written down: whole forwards, attention pushed where it is, one label at a time."""
    sites = decoder_sites(backbone, modulation.inject)
    pushed = modulated_sites(backbone.card, modulation)
    schedule, steps = backbone.schedule, modulation.steps
    here = backbone.noise(latents, modulation.level(), range(len(latents)))[frames]
    original, push = here, sign * modulation.strength * masks[label, frames].flatten(1)
    given = [conditioning] if modulation.guidance == 1 else [conditioning, blank(conditioning)]
    for place, step in enumerate(steps):
        predictions = []
        for changed, latent in ((False, original), (True, here)):
            answers = []
            for text in given:
                with recording(backbone.denoiser, sites) as kept:
                    answer = backbone.denoise(original, step, text)
                if changed:
                    edits = [Inject(site.path, kept.queries[site.path], kept.keys[site.path]) for site in sites]
                    if place == 0:
                        clip = len(push)
                        edits += [AddMap(s.path, push, clip=clip if s.kind == "temporal" else None) for s in pushed]
                    answer = backbone.denoise(latent, step, text, edits=edits)
                answers.append(answer)
            mixed = answers[0]
            if len(answers) == 2:
                mixed = answers[1] + modulation.guidance * (answers[0] - answers[1])
            predictions.append(backbone.to_x0_eps(mixed, latent, step))
        level = schedule.level(steps[place + 1]) if place + 1 < len(steps) else None
        original, here = (clean if level is None else schedule.mix(clean, noise, level) for clean, noise in predictions)
        if modulation.blended is None or place < modulation.blended:
            here = blend(here, original, masks[label, frames])
    return here


@pytest.mark.parametrize(
    "modulation",
    [
        Modulation(steps=(119, 79, 39), sites=(CROSS,), blended=2),
        Modulation(steps=(199, 39), sites=(SELF,), blended=0, guidance=5.0, strength=10.0),
        Modulation(steps=(281,), sites=(_site(1, 1),), blended=None, inject=("self",)),
    ],
    ids=["vidseg", "guided", "one step"],
)
def test_pushes_equal_the_straightforward_loop(tiny_like, latents, masks, modulation):
    text = tiny_like.condition("a stone")
    pushes = Pushes(tiny_like, latents, range(3), text, modulation)
    found = {}
    for answer in pushes.answers(masks):
        for pair, plus, minus in zip(answer.pairs.tolist(), answer.plus, answer.minus, strict=True):
            found[tuple(pair)] = plus, minus
    assert set(found) == {(0, 0), (1, 0), (0, 1), (1, 1), (2, 1)}, "nothing else has tokens of two labels"
    for (label, frame), both in found.items():
        for sign, ours in zip((1, -1), both, strict=True):
            theirs = _straight(tiny_like, modulation, latents, masks, label, [frame], sign, text)[0]
            torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-4 * float(theirs.abs().max()))


def test_pushes_of_clips_equal_the_straightforward_loop(small_svd):
    clip = torch.randn(3, 4, 8, 12, generator=torch.Generator().manual_seed(4))
    labels = (torch.arange(6).expand(3, 4, 6) > 2).long()
    labels[0] = 1
    masks = one_hot(torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float())
    modulation = Modulation(steps=(294, 0), blended=None, strength=20.0)
    given = small_svd.condition()
    answers = list(Pushes(small_svd, clip, range(3), given, modulation).answers(masks))
    pairs = torch.cat([answer.pairs for answer in answers]).tolist()
    assert pairs == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]], "whole clips of the labels that are there"
    plus = torch.cat([answer.plus for answer in answers]).unflatten(0, (2, 3))
    for label in (0, 1):
        theirs = _straight(small_svd, modulation, clip, masks, label, [0, 1, 2], 1, given)
        torch.testing.assert_close(plus[label], theirs, rtol=0, atol=CLOSE * float(theirs.abs().max()))


def test_memory_only_changes_how_many_go_together(tiny_like, latents, masks):
    text, modulation = tiny_like.condition(""), Modulation(steps=(121,), sites=(CROSS,))
    whole, small = (
        list(Pushes(tiny_like, latents, range(3), text, replace(modulation, memory=memory)).answers(masks))
        for memory in (1 << 30, 1)
    )
    assert (len(whole), len(small)) == (1, 5)
    torch.testing.assert_close(torch.cat([answer.plus for answer in small]), whole[0].plus, rtol=0, atol=CLOSE)


def test_guidance_rises_over_a_clip(small_svd):
    clip = torch.randn(3, 4, 8, 12, generator=torch.Generator().manual_seed(5))
    given = replace(small_svd.condition(), tensor=torch.ones(1, 32), first_frame=clip[0])
    level = Level(small_svd, clip, 294, given, Modulation(guidance=(1.0, 2.5)))
    yes, no = small_svd.denoise(clip, 294, given), small_svd.denoise(clip, 294, blank(given))
    weights = torch.tensor([1.0, 1.75, 2.5]).view(3, 1, 1, 1)
    torch.testing.assert_close(level.prediction, no + weights * (yes - no))
    assert not blank(given).tensor.any() and not blank(given).first_frame.any()
    with pytest.raises(SettingsError, match="no attention is pushed"):
        level.pushed(torch.arange(3), torch.zeros(3, 4, 6))


def test_steps_are_those_of_the_paper():
    steps = sampling_steps()
    assert [steps[place] for place in (0, 17, 20, 22, 23, 24)] == [999, 319, 199, 119, 79, 39]
    level = Modulation(steps=(119, 79), noising="invert").level()
    assert level.steps_grid == (39, 79, 119) and level.kind == "invert"


def test_a_step_is_an_euler_step_in_sigmas(tiny_like, latents):
    schedule = tiny_like.schedule
    here, later = schedule.level(119), schedule.level(79)
    clean, noise = tiny_like.to_x0_eps(latents.flip(0), latents, 119)
    sigmas = [((1 - level) / level) ** 0.5 for level in (here, later)]
    spread = latents / here**0.5
    euler = spread + (spread - clean) / sigmas[0] * (sigmas[1] - sigmas[0])
    torch.testing.assert_close(schedule.mix(clean, noise, later), euler * later**0.5, rtol=1e-4, atol=1e-4)


def test_labels_present(masks):
    assert present(masks).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 1]]
    assert present(masks, clip=3).tolist() == [[label, frame] for label in range(3) for frame in range(3)]
    assert present(masks[:1]).tolist() == []


def test_what_cannot_be_pushed_is_refused(tiny_like):
    with pytest.raises(SettingsError, match="several transformers"):
        modulated_sites(tiny_like.card, Modulation(sites=(CROSS, _site(0, 1))))
    with pytest.raises(SettingsError, match="names no attention"):
        modulated_sites(replace(tiny_like.card, sites={"track": tiny_like.card.sites["track"]}), Modulation())
    for wrong in ({"steps": (39, 119)}, {"strength": 0}, {"outside": 2}, {"noising": "clean"}, {"steps": ()}):
        with pytest.raises(SettingsError):
            Modulation(**wrong)
