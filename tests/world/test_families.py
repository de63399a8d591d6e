import numpy as np
import pytest

from undertow.world import FAMILIES, make_family_scene, make_scene


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_deterministic_and_show_something(family):
    first, again = (make_family_scene(family, 9, 48, 64) for _ in range(2))
    assert np.array_equal(first.picture(5.0).image, again.picture(5.0).image)
    assert first.labels(0.0).any() and FAMILIES[family].about.endswith(".")


def test_unknown_families_are_named():
    with pytest.raises(ValueError, match="look-alikes"):
        make_family_scene("dogs", 1)


def test_the_default_family_is_what_training_draws():
    family, plain = make_family_scene("leaves", 5, 160, 160), make_scene(5)
    assert np.array_equal(family.picture(3.0).image, plain.picture(3.0).image)


def test_names_and_keys_agree():
    assert all(name == family.name for name, family in FAMILIES.items())
    assert set(FAMILIES) >= {"leaves", "look-alikes", "occlusion", "reentry", "fast", "light", "camouflage", "crossing"}
