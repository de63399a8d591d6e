"""Fast and exact maps: of every frame, summing to one, and right where the answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow.backbones import get_card, random_backbone
from undertow.base import SettingsError
from undertow.parsing import ParseSettings, resolve_parse
from undertow.parsing.protocols import CoarseBatch
from undertow.parsing.sharpeners.difference import blur, difference, enlarge, favour, normalise, probabilities
from undertow.parsing.sharpeners.exact import ExactSharpener
from undertow.parsing.sharpeners.fast import FastSharpener
from undertow.parsing.sharpeners.fast import make_sharpener as make_fast
from undertow.parsing.sharpeners.modulation import Modulation, one_hot, transformer_path
from undertow.parsing.sharpeners.perturbation import Pushes
from undertow.parsing.sharpeners.presets import EMERDIFF, TINY_EXACT, TINY_FAST, VIDSEG, VIDSEG_CLIPS, modulation_for

SITES = get_card("tiny").sites["modulate"]


@pytest.fixture(scope="module")
def batch(tiny_like):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 64, 3), dtype=np.uint8)
    labels = (torch.arange(8).expand(3, 4, 8) > 3).long()
    labels[2] = 2
    soft = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    latents = tiny_like.encode(images)
    return CoarseBatch([4, 5, 6], list(images), soft, (7, 2, 300), latents / latents.std())


@pytest.mark.parametrize("kind", [FastSharpener, ExactSharpener])
@pytest.mark.parametrize("memory", [2 << 30, 1])
def test_maps_sum_to_one_at_native_size(tiny_like, batch, kind, memory):
    modulation = Modulation(steps=(121, 41), sites=SITES, memory=memory)
    larger = [np.repeat(np.repeat(image, 2, 0), 2, 1)[:, :-3] for image in batch.images]
    maps = list(kind(tiny_like, modulation)(replace(batch, images=larger)))
    assert [tuple(each.shape) for each in maps] == [(3, 64, 125)] * 3
    for each in maps:
        torch.testing.assert_close(each.sum(0), torch.ones(64, 125), rtol=0, atol=1e-4)
        assert each.min() >= 0
    assert (maps[0][2] == 0).all(), "a label without tokens cannot win"
    assert (maps[2].argmax(0) == 2).all(), "where there is one label, it is everywhere"


def test_hundreds_of_labels_are_pushed_a_frame_at_a_time(tiny_like, batch, monkeypatch):
    """Each frame has a map per label, which soon takes more than the forwards."""
    modulation = Modulation(steps=(121,), sites=SITES, memory=1 << 20)
    many = replace(batch, soft=torch.cat([batch.soft, torch.zeros(3, 200, 4, 8)], 1), ids=tuple(range(203)))
    frames = []
    whole = ExactSharpener.differences

    def counted(self, pushes, masks, size):
        frames.append(masks.shape[1])
        return whole(self, pushes, masks, size)

    monkeypatch.setattr(ExactSharpener, "differences", counted)
    assert [len(maps) for maps in ExactSharpener(tiny_like, modulation)(many)] == [203] * 3
    assert frames == [1, 1, 1]


def test_exact_maps_are_read_as_written_down(tiny_like, batch):
    modulation = Modulation(steps=(121, 41), sites=SITES, outside=0.7)
    pushes = Pushes(tiny_like, batch.latents[:2], batch.indices[:2], tiny_like.condition(""), modulation)
    masks = one_hot(batch.soft)[:, :2]
    maps = torch.zeros(3, 2, 32, 64)
    for answer in pushes.answers(masks):
        for (label, frame), plus, minus in zip(answer.pairs.tolist(), answer.plus, answer.minus, strict=True):
            images = [(tiny_like.decode_float(each[None]).clamp(-1, 1) + 1) / 2 for each in (plus, minus)]
            maps[label, frame] = difference(*images)[0]
    found = list(ExactSharpener(tiny_like, modulation)(batch))
    for frame in range(2):
        coarse = enlarge(masks[:, frame], (32, 64))
        read = favour(normalise(blur(maps[:, frame])), coarse, 0.7)
        torch.testing.assert_close(found[frame], probabilities(read, coarse), rtol=0, atol=1e-3)


def test_frames_of_an_image_model_do_not_depend_on_each_other(tiny_like, batch):
    modulation = Modulation(steps=(121,), sites=SITES)
    together = list(FastSharpener(tiny_like, modulation)(batch))
    alone = CoarseBatch([5], batch.images[1:2], batch.soft[1:2], batch.ids, batch.latents[1:2])
    (other,) = FastSharpener(tiny_like, modulation)(alone)
    torch.testing.assert_close(other, together[1], rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", [FastSharpener, ExactSharpener])
def test_clips_are_pushed_whole(small_svd, kind):
    images = np.random.default_rng(1).integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)
    labels = (torch.arange(12).expand(3, 8, 12) > 5).long()
    soft = torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
    latents = small_svd.encode(images)
    modulation = modulation_for(small_svd.card, ParseSettings(modulation=Modulation(steps=(294, 42), blended=None)))
    sharpen = kind(small_svd, modulation)
    maps = list(sharpen(CoarseBatch([0, 1, 2], list(images), soft, (0, 1), latents)))
    assert len(maps) == 3
    for each in maps:
        torch.testing.assert_close(each.sum(0), torch.ones(16, 24), rtol=0, atol=1e-4)


def test_presets_follow_the_model_and_the_method():
    settings = ParseSettings(seed=3)
    assert modulation_for(get_card("tiny"), replace(settings, quality="fast")) == replace(TINY_FAST, seed=3)
    assert modulation_for(get_card("tiny"), replace(settings, quality="exact")) == replace(TINY_EXACT, seed=3)
    assert modulation_for(get_card("sd-2.1"), settings) == replace(VIDSEG, seed=3)
    assert modulation_for(get_card("svd"), settings) == replace(VIDSEG_CLIPS, seed=3)
    assert VIDSEG_CLIPS.steps == (294, 252, 210, 168, 126, 84, 42, 0)
    emerdiff = replace(settings, method="emerdiff")
    assert modulation_for(get_card("sd-1.5"), emerdiff).strength == EMERDIFF.strength == 10
    assert EMERDIFF.steps[0] == 281
    for name, quality, block in (
        ("tiny", "fast", "emerdiff"),
        ("tiny", "exact", "modulate"),
        ("sd-1.5", "exact", "emerdiff"),
    ):
        card = get_card(name)
        assert modulation_for(card, replace(emerdiff, quality=quality)).sites == card.sites[block]
    with pytest.raises(SettingsError, match="EmerDiff"):
        modulation_for(get_card("svd"), emerdiff)
    with pytest.raises(SettingsError, match="modulation is 5"):
        modulation_for(get_card("tiny"), replace(settings, modulation=5))


def test_the_reach_of_upsampling_is_kept_in_pixels(tiny_like):
    resolved = resolve_parse(ParseSettings(size=(64, 32)), tiny_like, 32, 64)
    sharpen = make_fast(tiny_like, resolved)
    assert (sharpen.guided.radius, sharpen.guided.near) == (4, 2.0)


def test_the_published_clip_model_has_its_sites():
    """On shapes alone, at full size; building it checks every site of the card."""
    model = random_backbone(get_card("svd"), device="meta")
    spatial, temporal = model.card.sites["modulate"]
    assert transformer_path(spatial) == transformer_path(temporal) == "up_blocks.2.attentions.2"
    assert sum(weight.numel() for weight in model.denoiser.parameters()) == 1_524_623_082


def test_a_model_that_is_no_unet_is_refused(tiny_video_like):
    with pytest.raises(SettingsError, match="use turbo"):
        make_fast(tiny_video_like, None)
