"""Pictures of results: overlays, heat maps, titled panels, contact sheets, legends."""

from undertow.drawing.classes import ClassView, View, class_colour, class_palette
from undertow.drawing.heat import heat
from undertow.drawing.inspection import inspection_sheet
from undertow.drawing.overlay import overlay
from undertow.drawing.panels import contact_sheet, labelled_panel, legend, panel_grid, text_strip
from undertow.drawing.slices import marked_row, pca_pictures, time_slice

__all__ = [
    "ClassView",
    "View",
    "class_colour",
    "class_palette",
    "contact_sheet",
    "heat",
    "inspection_sheet",
    "labelled_panel",
    "legend",
    "marked_row",
    "overlay",
    "panel_grid",
    "pca_pictures",
    "text_strip",
    "time_slice",
]
