"""Charts of a quality report as inline SVG: no script, no file, colours from the page's style.

Every mark carries its number as a tooltip, and every chart says in words what it shows, so that it
can be read without seeing it.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 320, 128
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 10, 10, 22
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_CELL = 18


def draw_histogram(counts: Sequence[int], what: str, low_below: float = 0.0) -> Markup:
    """Bars over 0 to 1.

    Args:
        counts: of equal bins.
        what: what is counted, for readers of the page who do not see it.
        low_below: bars that end at or below it are drawn as low ones.
    """
    plot_width, plot_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    top = max(max(counts, default=0), 1)
    step = plot_width / len(counts)
    parts = [
        f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        for y in (_TOP, _TOP + plot_height / 2, _TOP + plot_height)
    ]
    parts.append(f'<text x="{_LEFT - 5}" y="{_TOP + 4}" text-anchor="end">{top:,}</text>')
    for index, count in enumerate(counts):
        start, end = index / len(counts), (index + 1) / len(counts)
        height = plot_height * count / top
        height = max(height, 1.0) if count else 0.0
        kind = "bar low" if end <= low_below + 1e-9 else "bar"
        parts.append(
            f'<rect class="{kind}" x="{_LEFT + index * step + 0.75:.2f}" width="{step - 1.5:.2f}" '
            f'y="{_TOP + plot_height - height:.2f}" height="{height:.2f}">'
            f"<title>{start:.2f} to {end:.2f}: {count:,}</title></rect>"
        )
    for tick in _TICKS:
        x = _LEFT + tick * plot_width
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{tick:g}</text>')
    return _svg(parts, _WIDTH, _HEIGHT, f"Histogram: {what}")


def draw_grid(grid: Sequence[Sequence[int]], what: str) -> Markup:
    """Counts on a grid of rows and columns; the fullest cell is the darkest."""
    top = max(max(map(max, grid), default=0), 1)
    parts = [
        f'<rect class="cell" x="{column * _CELL}" y="{row * _CELL}" width="{_CELL - 1}" '
        f'height="{_CELL - 1}" fill-opacity="{0.04 + 0.96 * count / top:.3f}">'
        f"<title>row {row + 1}, column {column + 1}: {count:,}</title></rect>"
        for row, counts in enumerate(grid)
        for column, count in enumerate(counts)
    ]
    size = len(grid) * _CELL - 1
    return _svg(parts, size, size, f"Grid: {what}")


def _svg(parts: Sequence[str], width: float, height: float, label: str) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
