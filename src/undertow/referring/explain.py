"""A page that shows why: words kept and dropped, a map per token and per block, and the masks with their scores."""

import base64
import html
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from undertow.drawing import overlay
from undertow.grounding import stretched
from undertow.referring.finding import Finding

WIDTH = 320
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:72rem;background:#fff;color:#222}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}}
figure{display:inline-block;margin:0 1rem 1rem 0;vertical-align:top;max-width:320px}figcaption{font-size:13px}
img{display:block;max-width:100%}.kept{font-weight:700}.gone{opacity:.6}"""
_WHY = {
    "kept": "counts",
    "stop": "stop word",
    "place": "place, becomes a ramp",
    "outside": "outside the noun phrase",
    "magnet": "magnet",
    "caption": "caption",
    "special": "special token",
    "sink": "sink",
}


def explain_page(findings: Sequence[Finding], frames: Mapping[int, UInt8[np.ndarray, "h w 3"]]) -> str:
    """Returns a page that needs no other file.

    Args:
        findings: What was found of each expression.
        frames: The frames that they were seen in, by number.
    """
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>What the words found</title>",
        f"<style>{_STYLE}</style><h1>What the words found</h1>",
    ]
    for finding in findings:
        parts += _section(finding, frames[finding.frame])
    return "".join(parts) + "</html>\n"


def _section(finding: Finding, image: UInt8[np.ndarray, "h w 3"]) -> list[str]:
    sight = finding.sight
    where = f"frame {finding.frame}, contrast {sight.contrast:.2f}"
    verdict = where if finding.present else f"{where}: not found"
    words = " ".join(
        f'<span class="{"kept" if word.role == "kept" else "gone"}" title="{_WHY[word.role]}">'
        f"{html.escape(word.text)}</span>"
        for word in sight.expression.words
    )
    looked = ", ".join(f"{frame}: {value:.2f}" for frame, value in sorted(finding.looked.items()))
    parts = [
        f"<h2>{finding.object_id}: {words}</h2><p>{verdict}. Frames and how well they show it: {looked}.</p>",
        _figure(
            _heated(image, sight.heat), "the sum of the words that count" if sight.tokens else "the model's answer"
        ),
    ]
    for candidate in sight.candidates:
        text = f"{candidate.made_of}: score {candidate.score:.2f}, quality {candidate.quality:.2f}"
        parts.append(_figure(_masked(image, candidate.mask), text))
    if sight.tokens:
        parts.append("<h3>Tokens</h3>")
    for token in sight.tokens:
        parts.append(_figure(_heated(image, token.map), f"{token.text or '(special)'}: {_WHY[token.fate]}"))
    if sight.blocks:
        parts.append("<h3>Blocks</h3>")
    parts += [_figure(_heated(image, heat), path) for path, heat in sight.blocks.items()]
    return parts


def _heated(image: UInt8[np.ndarray, "h w 3"], heat: Float[Tensor, "gh gw"]) -> Image.Image:
    """Returns a picture in grey with a map over it: the hotter, the redder."""
    small = _small(image)
    grey = np.asarray(small.convert("L"), np.float32)[..., None]
    share = stretched(heat, (small.height, small.width)).numpy()[..., None]
    return Image.fromarray((grey * (1 - share) + np.array([255, 60, 0]) * share).astype(np.uint8))


def _masked(image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> Image.Image:
    return _small(overlay(image, mask.astype(np.uint16)))


def _small(image: UInt8[np.ndarray, "h w 3"]) -> Image.Image:
    picture = Image.fromarray(image)
    return picture.resize((WIDTH, max(1, round(picture.height * WIDTH / picture.width))))


def _figure(picture: Image.Image, caption: str) -> str:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/jpeg;base64,{data}"><figcaption>{text}</figcaption></figure>'
