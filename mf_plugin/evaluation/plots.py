"""Geometry of the report's plots in SVG units; the template draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PALETTE = ("#8d99a6", "#12908a", "#d0674f", "#7c80bd", "#b58900", "#4c9a5f")
MINUS = "\N{MINUS SIGN}"
MOST_ROWS = 60  # of a gain plot; more are cut in the middle


def run_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each run; they stand out from white and from near-black paper."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def bar_plot(report: Mapping[str, Any], iou_type: str, metrics: Sequence[str]) -> dict[str, Any]:
    """Grouped bars: metrics side by side, runs within them."""
    names, colours = list(report["runs"]), run_colours(list(report["runs"]))
    values = {n: report["runs"][n][iou_type] for n in names}
    spread = {n: report.get("std", {}).get(n, {}).get(iou_type, {}) for n in names}
    top = max(
        (v + (spread[n].get(m) or 0))
        for n in names
        for m in metrics
        if (v := values[n][m]) is not None
    )
    step = next(s for s in (1, 2, 5, 10, 20, 25) if top <= 5 * s or s == 25)
    ceiling = step * max(1, -(-top // step))
    width, height, left, base_line, head = 440, 230, 30, 200, 16
    group = (width - left) / len(metrics)
    bar = min(40.0, 0.72 * group / len(names))

    def y(value: float) -> float:
        place: float = base_line - (base_line - head) * value / ceiling
        return place

    bars, labels = [], []
    for g, metric in enumerate(metrics):
        centre = left + group * (g + 0.5)
        labels.append({"x": centre, "text": metric})
        for i, name in enumerate(names):
            x = centre + bar * (i - len(names) / 2)
            value, deviation = values[name][metric], spread[name].get(metric)
            item: dict[str, Any] = {
                "x": x + 1,
                "width": bar - 2,
                "centre": x + bar / 2,
                "colour": colours[name],
            }
            item["value"] = value
            item["y"] = y(value or 0)
            item["height"] = base_line - item["y"]
            item["label_y"] = item["y"] - 5
            if value is not None and deviation:
                item["whisker"] = (y(value + deviation), y(max(0, value - deviation)))
                item["label_y"] = item["whisker"][0] - 5
            bars.append(item)
    ticks = [{"y": y(t), "text": f"{t:g}"} for t in range(0, int(ceiling) + 1, step)]
    return {
        "width": width,
        "height": height,
        "left": left,
        "base_line": base_line,
        "bars": bars,
        "labels": labels,
        "ticks": ticks,
    }


def interval_plot(
    report: Mapping[str, Any], iou_type: str, metrics: Sequence[str]
) -> dict[str, Any] | None:
    """Differences to the baseline with their intervals, a row each; None where there are none."""
    colours = run_colours(list(report["runs"]))
    found = []
    for metric in metrics:
        for name, delta in report.get("delta", {}).items():
            difference = delta[iou_type].get(metric)
            interval = report["interval"][name][iou_type].get(metric)
            if difference is not None and interval is not None:
                found.append((metric, name, difference, interval))
    if not found:
        return None
    width, left, right, row, head = 440, 52, 16, 24, 8
    low = min(0.0, *(i[0] for *_, i in found))
    high = max(0.0, *(i[1] for *_, i in found))
    ticks, low, high = _axis(low, high)

    def x(value: float) -> float:
        return left + (width - left - right) * (value - low) / (high - low)

    rows, previous = [], None
    for k, (metric, name, difference, interval) in enumerate(found):
        rows.append(
            {
                "y": head + row * (k + 0.5),
                "label": metric if metric != previous else "",
                "name": name,
                "x": x(difference),
                "low": x(interval[0]),
                "high": x(interval[1]),
                "colour": colours[name],
                "value": difference,
            }
        )
        previous = metric
    base_line = head + row * len(rows)
    return {
        "width": width,
        "height": base_line + 26,
        "left": left,
        "head": head,
        "base_line": base_line,
        "zero": x(0.0),
        "rows": rows,
        "ticks": [{"x": x(t), "text": _tick(t)} for t in ticks],
    }


def gain_plot(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Gains of categories, a bar each, in the order of falling gain.

    Args:
        rows: with "name", "gain" (None draws no bar), "real" and "synthetic" as shown beside it.

    Returns:
        geometry; ``left_out`` rows between the largest gains and the largest losses are cut.
    """
    ordered = sorted(rows, key=lambda r: -(r["gain"] or 0))
    left_out = max(0, len(ordered) - MOST_ROWS)
    if left_out:
        ordered = ordered[: MOST_ROWS // 2] + ordered[-(MOST_ROWS // 2) :]
    width, left, right, row, head = 900, 190, 190, 19, 26
    gains = [r["gain"] or 0.0 for r in ordered]
    ticks, low, high = _axis(min(0.0, *gains, 0.0), max(0.0, *gains, 0.0))

    def x(value: float) -> float:
        return left + (width - left - right) * (value - low) / (high - low)

    bars = []
    for k, (entry, gain) in enumerate(zip(ordered, gains, strict=True)):
        begin, end = sorted((x(0.0), x(gain)))
        bars.append(
            {
                **entry,
                "y": head + row * k + 3,
                "height": row - 6,
                "text_y": head + row * (k + 0.5) + 4,
                "x": begin,
                "width": end - begin,
                "label_x": end + 5 if gain >= 0 else begin - 5,
                "anchor": "start" if gain >= 0 else "end",
                "good": gain >= 0,
            }
        )
    base_line = head + row * len(bars)
    return {
        "width": width,
        "height": base_line + 24,
        "left": left,
        "head": head,
        "base_line": base_line,
        "zero": x(0.0),
        "bars": bars,
        "ticks": [{"x": x(t), "text": _tick(t)} for t in ticks],
        "real_x": width - 110,
        "synthetic_x": width - 8,
        "left_out": left_out,
    }


def _axis(low: float, high: float) -> tuple[list[float], float, float]:
    """Round ticks over [low, high], and the ends of the axis: some room beyond the values."""
    span = max(high - low, 1.0)
    step = next(s for s in (0.5, 1, 2, 5, 10, 20, 50, 100) if span <= 6 * s or s == 100)
    low, high = low - 0.08 * span, high + 0.08 * span
    ticks = [k * step for k in range(int(low // step), int(high // step) + 1)]
    return [t for t in ticks if low <= t <= high], low, high


def _tick(value: float) -> str:
    return "0" if not value else f"{value:+g}".replace("-", MINUS)
