"""Prints the validation score of models of `tiny`'s shape: held-out worlds and held-out photographs (docs/training.md).

python benchmarks/quality/validate_tiny.py --photos DIR tiny work/snapshots/*
"""

import argparse
from pathlib import Path

from undertow.backbones import get_card, load
from undertow.points import PointSettings
from undertow.tracking import TrackSettings
from undertow.training.validation import match_photographs, validate
from undertow.world.photographs import list_photographs
from undertow.world.view_pairs import photo_pairs

TOKENS = 1600

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="names or folders")
    parser.add_argument("--photos", type=Path, required=True)
    options = parser.parse_args()
    pairs = list(photo_pairs(list_photographs(options.photos)))
    print("model,worlds,photo_pairs,score")
    for model in options.models:
        backbone = load(f"tiny={model}" if Path(model).is_dir() else get_card(model).name, dtype="float32")
        worlds = 100 * validate(backbone, TrackSettings(tokens=TOKENS, lost="keep"))
        photographs = 100 * match_photographs(backbone, PointSettings(preset="points", tokens=TOKENS), pairs)
        print(f"{model},{worlds:.2f},{photographs:.2f},{(worlds + photographs) / 2:.2f}", flush=True)
