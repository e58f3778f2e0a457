"""The gains of a benchmark's arms as a picture: points with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from mf_plugin.extras import require

METRICS = ("APr", "AP")  # a column each
COLOURS = {"APr": "#12908a", "AP": "#8d99a6"}  # they stand out from white and from black paper
INK = "#7a8590"  # of words and lines, for the same reason
ROW, HEAD, WIDTH = 0.26, 0.9, 9.0  # inches


def draw_gains(report: Mapping[str, Any]) -> bytes | None:
    """An SVG: a row an arm, a line of plots a detector, differences of mask AP to the baseline.

    Args:
        report: of `report.make_report`.

    Returns:
        The file's bytes, the same for the same report; None where no arm has a difference.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    rows = {
        detector: [row for row in types["segm"].values() if row.get("delta")]
        for detector, types in report["detectors"].items()
    }
    rows = {detector: found for detector, found in rows.items() if found}
    if not rows:
        return None
    require("matplotlib", "eval")
    import matplotlib
    from matplotlib.figure import Figure

    heights = [HEAD + ROW * len(found) for found in rows.values()]
    with matplotlib.rc_context({"svg.hashsalt": "mf_plugin", "font.size": 9, "text.color": INK}):
        figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        plots = figure.subplots(
            len(rows), len(METRICS), squeeze=False, sharex="col",
            gridspec_kw={"height_ratios": heights},
        )  # fmt: skip
        for line, (detector, found) in zip(plots, rows.items(), strict=True):
            for plot, metric in zip(line, METRICS, strict=True):
                _draw(plot, found, metric)
                plot.set_title(f"{detector}: {metric}", fontsize=9, color=INK)
            line[-1].set_yticklabels([])
        file = BytesIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()


def _draw(plot: Any, rows: list[Mapping[str, Any]], metric: str) -> None:
    """One metric of one detector; a row without a value keeps its place."""
    for y, row in enumerate(rows):
        value, interval = row["delta"][metric], row["interval"][metric]
        if value is None:
            continue
        if interval is not None:
            plot.plot(interval, [y, y], color=COLOURS[metric], linewidth=2)
        plot.plot([value], [y], "o", color=COLOURS[metric], markersize=5)
    plot.axvline(0, color=INK, linewidth=0.8)
    plot.set_yticks(range(len(rows)), [_label(row, rows[0]["baseline"]) for row in rows])
    plot.set_ylim(len(rows) - 0.5, -0.5)
    plot.tick_params(colors=INK, length=0)
    plot.grid(axis="x", color=INK, alpha=0.25)
    for side in plot.spines.values():
        side.set_visible(False)


def _label(row: Mapping[str, Any], usual: str) -> str:
    """The arm with its number of seeds, and what its gain is counted from where that is unusual."""
    over = "" if row["baseline"] == usual else f", to {row['baseline']}"
    return f"{row['label']}{over} ({len(row['seeds'])})"
