"""The procedural world: scenes, clips and captions whose truth is known exactly. Needs no model."""

from undertow.world.camera import Sensor
from undertow.world.crossing import crossing_scene
from undertow.world.materials import Material
from undertow.world.scene import Picture, Scene, WorldSettings, make_scene
from undertow.world.shapes import Shape
from undertow.world.things import Path, Pose, Thing

__all__ = [
    "Material",
    "Path",
    "Picture",
    "Pose",
    "Scene",
    "Sensor",
    "Shape",
    "Thing",
    "WorldSettings",
    "crossing_scene",
    "make_scene",
]
