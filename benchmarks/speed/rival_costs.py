"""Counts what a frame costs every known model, and writes the table that `undertow bench rivals` shows.

python benchmarks/speed/rival_costs.py --out src/undertow/benchmarks/rivals/costs.csv
"""

import argparse
from pathlib import Path

from undertow.backbones import list_cards
from undertow.backbones.published import ARCHITECTURES
from undertow.base import write_text
from undertow.benchmarks.rivals.costs import Cost, costs_csv, costs_of


def main() -> None:
    """Counts model by model; those of which no shape is known are left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="The CSV to write.")
    parser.add_argument("--models", default="", help="Only these, separated by commas.")
    options = parser.parse_args()
    names = options.models.split(",") if options.models else [card.name for card in list_cards()]
    costs: list[Cost] = []
    for card in list_cards():
        if card.name in names and (card.embedded or card.name in ARCHITECTURES):
            costs += costs_of(card)
            print(costs[-1], flush=True)
            write_text(options.out, costs_csv(costs))


if __name__ == "__main__":
    main()
