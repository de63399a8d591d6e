"""The procedural world: scenes, clips and captions whose truth is known exactly. Needs no model."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
    from undertow.world.camera import Exposure, Sensor
    from undertow.world.expressions import Expression, scene_captions, scene_expressions
    from undertow.world.families import (
        FAMILIES,
        FIRST_BENCHMARK_SEED,
        FIRST_VALIDATION_SEED,
        SUITES,
        TRACKING_FAMILIES,
        Family,
        WorldClip,
        crossing_scene,
        make_family_scene,
    )
    from undertow.world.materials import Material
    from undertow.world.scene import Picture, Scene, WorldSettings, make_scene
    from undertow.world.shapes import Shape
    from undertow.world.staging import Staging
    from undertow.world.things import Path, Pose, Thing, Wave
    from undertow.world.truth import CLASSES, Facts, Looks, point_tracks, scene_facts, semantic_map, visibility

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "CLASSES",
    "FAMILIES",
    "FIRST_BENCHMARK_SEED",
    "FIRST_VALIDATION_SEED",
    "SUITES",
    "TRACKING_FAMILIES",
    "Exposure",
    "Expression",
    "Facts",
    "Family",
    "Looks",
    "Material",
    "Path",
    "Picture",
    "Pose",
    "Scene",
    "Sensor",
    "Shape",
    "Staging",
    "Thing",
    "Wave",
    "WorldClip",
    "WorldSettings",
    "crossing_scene",
    "make_family_scene",
    "make_scene",
    "point_tracks",
    "scene_captions",
    "scene_expressions",
    "scene_facts",
    "semantic_map",
    "visibility",
]
