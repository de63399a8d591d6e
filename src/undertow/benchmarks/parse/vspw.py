"""VSPW: 124 classes on every frame of everyday videos."""

from collections.abc import Sequence
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.masks.davis import read_list
from undertow.benchmarks.parse.labelled import semantic_sample
from undertow.benchmarks.parse.sample import LabelCoding, SemanticSample
from undertow.benchmarks.parse.task import ParseTask

# In the order of `label_num_dic_final.json`, where they are 1 to 124.
_CLASSES = """
    wall ceiling door stair ladder escalator Playground_slide handrail_or_fence window rail goal pillar pole floor
    ground grass sand athletic_field road path crosswalk building house bridge tower windmill well_or_well_lid
    other_construction sky mountain stone wood ice snowfield grandstand sea river lake waterfall water
    billboard_or_Bulletin_Board sculpture pipeline flag parasol_or_umbrella cushion_or_carpet tent roadblock car bus
    truck bicycle motorcycle wheeled_machine ship_or_boat raft airplane tyre traffic_light lamp person cat dog horse
    cattle other_animal tree flower other_plant toy ball_net backboard skateboard bat ball
    cupboard_or_showcase_or_storage_rack box traveling_case_or_trolley_case basket bag_or_package trash_can cage plate
    tub_or_bowl_or_pot bottle_or_cup barrel fishbowl bed pillow table_or_desk chair_or_seat bench sofa shelf bathtub gun
    commode roaster other_machine refrigerator washing_machine Microwave_oven fan curtain textiles clothes
    painting_or_poster mirror flower_pot_or_vase clock book tool blackboard tissue screen_or_television computer printer
    Mobile_phone keyboard other_electronic_product fruit food instrument train
"""
CLASSES = tuple(_CLASSES.split())
# As the official script remaps: class v becomes v - 1; 0 ("others") and 255 are not scored.
CODING = LabelCoding(values=tuple(range(1, 125)), void=(0, 255))


def _names(root: Path, split: str) -> Sequence[str]:
    if not (root / "data").is_dir():
        raise SettingsError(f"'{root}' is no VSPW tree: '{root / 'data'}' is missing; give the folder VSPW_480p")
    return read_list(root / f"{split}.txt", root)


def _open(root: Path, split: str, name: str) -> SemanticSample:
    folder = root / "data" / name
    if not (folder / "mask").is_dir():
        raise SettingsError(f"'{name}' has no labels: '{folder / 'mask'}' is missing; add it, or choose another split")
    labels = {path.stem: path for path in sorted((folder / "mask").glob("*.png"))}
    return semantic_sample("vspw", name, folder / "origin", labels, classes=CLASSES, coding=CODING)


VSPW = register(
    Dataset(
        name="vspw",
        task="parse",
        title="VSPW, 124 classes, 480p (Miao et al., CVPR 2021)",
        source="https://github.com/VSPW-dataset/VSPW-dataset-download, VSPW_480p; for research",
        tree="data/<video>/origin/<frame>.jpg\ndata/<video>/mask/<frame>.png\n<split>.txt",
        names=_names,
        open=_open,
        rules=ParseTask.rules,
        splits=("val", "train"),
        counts=(("val", 343), ("train", 2806)),
    )
)
