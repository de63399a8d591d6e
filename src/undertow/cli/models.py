"""`undertow models`."""

from rich.console import Console
from rich.table import Table

from undertow.cli.entry import app


@app.command()
def models() -> None:
    """List the models undertow knows."""
    from undertow.backbones import list_cards

    table = Table("name", "licence", "prediction", "tokens", "preset", "noising", "MB per frame", "notes")
    for card in list_cards():
        noising = f"{card.noising.kind} {card.noising.timestep}"
        memory = f"{card.memory_per_frame / 1e6:.1f}"
        table.add_row(
            card.name, card.licence, card.prediction, str(card.token_budget), card.preset, noising, memory, card.notes
        )
    Console().print(table)
