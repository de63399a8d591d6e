"""Where a conditioning begins: the null text, a class name, a caption, or a tensor that was learned before."""

from pathlib import Path

from undertow.backbones import Backbone, Conditioning
from undertow.base import SettingsError
from undertow.tracking.tuning.store import read_kernel

STARTS = Path(__file__).parent / "starts"


def starting_conditioning(
    backbone: Backbone,
    *,
    class_name: str | None = None,
    caption: str | None = None,
    file: Path | str | None = None,
    amortised: bool = False,
) -> Conditioning:
    """Returns the conditioning that tuning starts from; the null text unless something else is asked for.

    Args:
        backbone: The model, whose own tokenizer and text encoder read texts.
        class_name: What the object is, such as "camel"; read as it is.
        caption: A sentence that describes the frame.
        file: A tensor learned for this model.
        amortised: Whether to take the one that ships for this model.

    Raises:
        SettingsError: if two are given, a text is empty or too long, the file is not for this model, or none ships.
    """
    asked = [name for name, given in (("a class name", class_name), ("a caption", caption)) if given is not None]
    asked += [name for name, given in (("a file", file), ("the amortised start", amortised or None)) if given]
    if len(asked) > 1:
        raise SettingsError(f"a conditioning can start from {' or '.join(asked)}, not both; give one")
    text = class_name if class_name is not None else caption
    if text is not None:
        if not text.strip():
            raise SettingsError(f"{asked[0]} is empty; leave it out to start from the null text")
        return backbone.condition(text)
    if amortised:
        file = STARTS / f"{backbone.card.name}.safetensors"
        if not file.exists():
            raise SettingsError(f"no learned start ships for '{backbone.card.name}'; use the tuning preset fast")
    return backbone.condition() if file is None else read_kernel(file, backbone).conditioning
