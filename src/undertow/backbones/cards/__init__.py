"""What is known of each model: cards, and the registry that finds them by name; nothing here imports torch."""

# The cards register themselves when their module is imported, and are listed in this order.
from undertow.backbones.cards import image_cards as _image_cards  # noqa: F401
from undertow.backbones.cards import video_cards as _video_cards  # noqa: F401
