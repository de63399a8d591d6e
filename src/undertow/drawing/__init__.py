"""Pictures of results: overlays, heat maps, titled panels, contact sheets, legends."""

from undertow.drawing.heat import heat
from undertow.drawing.inspection import inspection_sheet
from undertow.drawing.overlay import overlay
from undertow.drawing.panels import contact_sheet, labelled_panel, legend, panel_grid, text_strip

__all__ = [
    "contact_sheet",
    "heat",
    "inspection_sheet",
    "labelled_panel",
    "legend",
    "overlay",
    "panel_grid",
    "text_strip",
]
