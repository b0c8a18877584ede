"""A bar chart as SVG: no library, no script, legible on light and dark pages."""

from collections.abc import Sequence
from html import escape
from typing import Final

WIDTH: Final = 720
BAR: Final = 26
GAP: Final = 12
LEFT: Final = 190
ROOM_FOR_FIGURE: Final = 90
_OURS: Final = "#2f6fde"
_THEIRS: Final = "#9aa4b2"


def bars(title: str, values: Sequence[tuple[str, float]], *, ours: str) -> str:
    """One horizontal bar for each name, as long as its value; `ours` is set off by its colour."""
    height = 48 + len(values) * (BAR + GAP)
    longest = max((value for _, value in values), default=1.0) or 1.0
    shapes: list[str] = []
    for place, (name, value) in enumerate(values):
        top = 40 + place * (BAR + GAP)
        length = max(1.0, value / longest * (WIDTH - LEFT - ROOM_FOR_FIGURE))
        colour = _OURS if name == ours else _THEIRS
        middle = top + BAR * 0.68
        shapes += [
            f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{top}" width="{length:.1f}" height="{BAR}" rx="3" fill="{colour}"/>',
            f'<text x="{LEFT + length + 8:.1f}" y="{middle:.1f}">{value:.2f}</text>',
        ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    style = 'font-family="system-ui, sans-serif" font-size="14" fill="#6b7280"'
    heading = f'<text x="10" y="22" font-weight="600">{escape(title)}</text>'
    return "\n".join([f'{head} {style} role="img" aria-label="{escape(title)}">', heading, *shapes, "</svg>", ""])
