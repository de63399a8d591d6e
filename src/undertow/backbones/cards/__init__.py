"""What is known of each model: cards, and the registry that finds them by name; nothing here imports torch."""

# The cards register themselves when their module is imported, and are listed in its order.
from undertow.backbones.cards import known as _known  # noqa: F401, I001
from undertow.backbones.cards import transformers as _transformers  # noqa: F401
from undertow.backbones.cards import features as _features  # noqa: F401
from undertow.backbones.cards import pixels as _pixels  # noqa: F401
from undertow.backbones.cards import xl as _xl  # noqa: F401
