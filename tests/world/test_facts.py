import numpy as np

from undertow.world import make_family_scene, scene_facts
from undertow.world.captions import TEXTURES
from undertow.world.facts import looks_of


def test_facts_agree_with_pictures():
    scene = make_family_scene("occlusion", 2, 90, 160)
    facts = scene_facts(scene, frames=20)
    labels = scene.picture(13.0).labels
    picture = scene.picture(0.0)
    assert [each.label for each in facts] == [*range(1, len(scene.things) + 1), *[0] * (len(facts) - len(scene.things))]
    for each in facts[: len(scene.things)]:
        assert each.seen[13] == (labels == each.label).sum() <= each.inside[13]
        rows, columns = np.nonzero(picture.labels == each.label)
        assert np.allclose(each.centre, (columns.mean() + 0.5, rows.mean() + 0.5))
        assert np.isclose(each.brightness, picture.image[rows, columns].mean() / 255)


def test_layers_that_are_never_seen_have_no_facts():
    scene = make_family_scene("entrances", 1, 90, 160)
    assert len(scene_facts(scene, frames=1)) < len(scene_facts(scene)) == len(scene.things)


def test_looks_name_what_prevails():
    for seed in range(5):
        for thing in make_family_scene("plain", seed, 90, 160).things:
            looks, shares = looks_of(thing), thing.shares()
            assert looks.kind == thing.shape.kind
            main = TEXTURES[thing.materials[int(np.argmax(shares))].kind]
            if shares.max() > 0.6:
                assert looks.texture == main and looks.colour in looks.colours
            if len(shares) > 1 and np.ptp(shares) < 0.1 and len({m.kind for m in thing.materials}) == len(shares):
                assert looks.texture is None
