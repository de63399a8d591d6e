"""One self-contained page of a benchmark: no script, no network, light and dark, narrow and wide."""

import html
import re
from collections.abc import Sequence

from undertow.benchmarks.report.tables import Table

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d5dae0; --ground: #ffffff;
  --band: #f4f6f8; --accent: #0a66a8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaee; --soft: #9aa5b1; --line: #363d46; --ground: #14171b; --band: #1d2227; --accent: #6cb6f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 3rem) 4rem; max-width: 75rem; color: var(--ink);
  background: var(--ground); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--line); }
p { margin: .4rem 0; max-width: 46rem; }
.soft { color: var(--soft); }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--ground); }
tbody tr:hover td { background: var(--band); }
.published td { color: var(--soft); font-style: italic; }
.published td:last-child, .published th:last-child { text-align: left; white-space: normal; min-width: 16rem; }
svg { display: block; width: 100%; min-width: min(34rem, var(--natural)); height: auto; max-width: var(--natural);
  color: var(--ink); }
figure { margin: .8rem 0; }
figcaption { color: var(--soft); font-size: .85rem; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
.frames img { width: 100%; height: auto; border-radius: 4px; display: block; }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """Returns the page's text from its title and the HTML of its parts."""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """Returns a heading."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """Returns a paragraph; `kind` is a class of the style sheet."""
    return f"<p{_class(kind)}>{html.escape(text)}</p>"


def table(content: Table, kind: str = "", caption: str = "") -> str:
    """Returns a table that scrolls by itself where the page is too narrow for it."""
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in content.header)
    rows = "\n".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in content.rows)
    below = paragraph(caption, "soft") if caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table{_class(kind)}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>{below}"
    )


def chart(svg: str, caption: str) -> str:
    """Returns a chart with what it shows in words."""
    named = svg.replace("<svg ", f'<svg aria-label="{html.escape(caption, quote=True)}" ', 1)
    below = f"<figcaption>{html.escape(caption)}</figcaption>"
    return f'<figure><div class="scroll" tabindex="0">{named}</div>{below}</figure>'


def frames(pictures: Sequence[tuple[str, str]]) -> str:
    """Returns a grid of (data address, caption)."""
    cells = "\n".join(
        f'<figure><img src="{address}" alt="{html.escape(words, quote=True)}">'
        f"<figcaption>{html.escape(words)}</figcaption></figure>"
        for address, words in pictures
    )
    return f'<div class="frames">{cells}</div>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _cell(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(text))
