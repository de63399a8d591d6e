"""Families of scenes, each about one thing that makes tracking hard, under names that stay."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from undertow.world.crossing import crossing_scene
from undertow.world.scene import Scene, WorldSettings, make_scene
from undertow.world.staging import Staging


@dataclass(frozen=True)
class Family:
    """A kind of scene.

    Attributes:
        name: What it is called.
        about: One sentence on what its scenes show.
        settings: What its scenes are made of; height and width are replaced on use.
        build: Makes a scene of a seed and settings.
    """

    name: str
    about: str
    settings: WorldSettings
    build: Callable[[int, WorldSettings], Scene] = make_scene


def _crossing(seed: int, settings: WorldSettings) -> Scene:
    return crossing_scene(seed, settings.height, settings.width, settings.staging.frames)


# Two to three objects in full view that move moderately and differ from each other: what other families change.
_PLAIN = WorldSettings(
    leaves=110,
    objects=(2, 3),
    copies=0.0,
    shared_palette=0.0,
    radius=(0.13, 0.24),
    staging=Staging(composed=True),
)


def _family(name: str, about: str, *, staging: Staging | None = None, **settings: object) -> Family:
    """Returns a family that differs from the plain one in some settings and is staged as given."""
    staging = replace(staging or Staging(), composed=True)
    return Family(name, about, replace(_PLAIN, staging=staging, **settings))  # type: ignore[arg-type]


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            Family("leaves", "What training sees: one to six objects, copies in 40 % of scenes.", WorldSettings()),
            Family("plain", "Two or three different objects that move moderately and stay in view.", _PLAIN),
            _family(
                "look-alikes",
                "An object beside one or two copies of itself, which move much as it does.",
                staging=Staging(look_alikes=(1, 2)),
                objects=(1, 1),
                radius=(0.15, 0.21),
            ),
            _family(
                "occlusion",
                "Objects cross the picture behind a trunk, and often a blob passes in front of them.",
                staging=Staging(occluders=(1, 2)),
                objects=(1, 2),
                radius=(0.14, 0.2),
            ),
            _family(
                "reentry",
                "Objects leave the picture for a third to half of the clip and come back.",
                staging=Staging(reenter=1.0),
                shared_palette=0.5,
                objects=(1, 2),
            ),
            _family(
                "entrances",
                "Objects come into the picture and leave it for good; the first one is there at the start.",
                staging=Staging(enter=0.6, leave=0.4),
                objects=(2, 4),
            ),
            _family(
                "fast",
                "Objects dash to and fro, up to a fifth of the picture per frame.",
                staging=Staging(dash=1.0),
                objects=(1, 2),
                radius=(0.13, 0.2),
            ),
            _family(
                "light",
                "The light changes by up to a factor of 2.5 and its colour drifts.",
                staging=Staging(light=1.0),
                shared_palette=0.5,
            ),
            _family(
                "deformation",
                "Objects wave and swell while they move.",
                staging=Staging(bend=0.34),
                shared_palette=0.5,
                radius=(0.17, 0.25),
            ),
            _family(
                "camera",
                "The camera swings and shakes; objects move on their own as well.",
                staging=Staging(pan=0.15, shake=0.02),
                shared_palette=0.5,
            ),
            _family(
                "camouflage",
                "Objects are made of the materials that the background is made of.",
                staging=Staging(camouflage=1.0),
                shared_palette=1.0,
                objects=(1, 3),
            ),
            _family(
                "mixed",
                "A look-alike, leaving and returning, waving, a shaking camera and changing light at once.",
                staging=Staging(look_alikes=(1, 1), reenter=0.5, bend=0.25, pan=0.08, shake=0.015, light=0.6),
                shared_palette=1.0,
                objects=(1, 1),
                radius=(0.15, 0.22),
            ),
            Family(
                "crossing",
                "Two objects of the same colours change places, one passing in front of the other.",
                _PLAIN,
                _crossing,
            ),
        )
    }
)


def make_family_scene(name: str, seed: int, height: int = 270, width: int = 480) -> Scene:
    """Returns a scene of a family, the same one for the same name, seed and size.

    Args:
        name: A name of `FAMILIES`.
        seed: Decides everything in the scene.
        height: Picture height in pixels.
        width: Picture width in pixels.

    Raises:
        ValueError: if no family has that name.
    """
    if name not in FAMILIES:
        raise ValueError(f"world family '{name}' is not one of {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    return family.build(seed, replace(family.settings, height=height, width=width))
