"""Pictures of results: overlays, heat maps, titled panels, contact sheets, legends."""

from undertow.drawing.features import inspection_sheet, marked_row, pca_pictures, time_slice
from undertow.drawing.heat import heat
from undertow.drawing.overlay import ClassView, View, class_colour, class_palette, overlay
from undertow.drawing.panels import contact_sheet, labelled_panel, legend, panel_grid, text_strip

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
