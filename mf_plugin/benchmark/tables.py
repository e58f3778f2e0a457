"""A benchmark's report as files: report.json, Markdown tables, and a plot of the gains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mf_plugin.benchmark.plots import draw_gains
from mf_plugin.evaluation.report import MINUS, NOT_AVAILABLE, TABLE_METRICS, TABLE_TYPES
from mf_plugin.lvis.io import write_bytes_atomic, write_json_atomic


def write_report(report: Mapping[str, Any], out: Path) -> dict[str, Path]:
    """Write report.json, report.md and, where there are differences, gains.svg into ``out``.

    Returns:
        Their paths by "json", "md" and "svg".
    """
    out.mkdir(parents=True, exist_ok=True)
    paths = {"json": out / "report.json", "md": out / "report.md"}
    write_json_atomic(paths["json"], report, indent=2)
    write_bytes_atomic(paths["md"], render_markdown(report).encode())
    picture = draw_gains(report)
    if picture is not None:
        paths["svg"] = out / "gains.svg"
        write_bytes_atomic(paths["svg"], picture)
    return paths


def render_markdown(report: Mapping[str, Any]) -> str:
    """All tables as Markdown."""
    lines = [f"# {report['title']}", ""]
    if report["reduced"]:
        lines += [f"**Reduced**: {report['reduced']}", ""]
    bootstrap = report["bootstrap"]
    lines += [
        f"mini-LVIS {report['preset']}, {report['split']}, {report['images']} images; percent, "
        "mean ± standard deviation over seeds; difference with its "
        f"{100 * bootstrap['confidence']:.0f} % interval over images and seeds "
        f"({bootstrap['draws']} draws), over images alone where there is one seed; share of the "
        "oracle's APr gain.",
        "",
    ]
    for detector, types in report["detectors"].items():
        for iou_type, word in TABLE_TYPES:
            lines += [f"## {detector}, {word}", "", *_table(types[iou_type]), ""]
    if report["targets"]:
        lines += ["## Targets, mask", "", *_target_table(report), ""]
    if report["missing"]:
        lines += [f"Not run: {', '.join(report['missing'])}.", ""]
    return "\n".join(lines)


def _table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    shares = any("share" in row for row in rows.values())
    header = ["arm", "seeds", *TABLE_METRICS, "difference to"]
    header += [f"Δ {m}" for m in TABLE_METRICS] + ["of the oracle's APr"] * shares
    lines = [f"| {' | '.join(header)} |", "|---|" + "---:|" * (len(header) - 1)]
    for row in rows.values():
        cells = [row["label"].replace("|", "\\|"), str(len(row["seeds"]))]
        cells += [_spread(row["mean"][m], row["std"][m]) for m in TABLE_METRICS]
        cells.append(row.get("baseline", ""))
        cells += [
            _gain(row["delta"][m], row["interval"][m]) if "delta" in row else ""
            for m in TABLE_METRICS
        ]
        if shares:
            cells.append(_percent(row))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _target_table(report: Mapping[str, Any]) -> list[str]:
    lines = ["| detector | what | asked | measured | | source |", "|---|---|---:|---:|---|---|"]
    for row in report["targets"]:
        unit = " % of the oracle's gain" if row["aim"] == "share" else ""
        what = f"{row['metric']}, {row['arm']} {MINUS} {row['over']}{unit}"
        asked = f"at least {_number(row['at_least'], '.0f' if unit else '+.1f')}"
        form = ".0f" if unit else "+.1f"
        measured = _gain(row["measured"], row["interval"], form)
        verdict = "not measured"
        if row["measured"] is not None:
            verdict = "met" if row["measured"] >= row["at_least"] else "missed"
        cells = [row["detector"], what, asked, measured, verdict, row["source"]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _number(value: float | None, form: str = ".1f") -> str:
    if value is None:
        return NOT_AVAILABLE
    text = format(value, form)
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", MINUS)


def _spread(value: float | None, spread: float | None) -> str:
    return _number(value) if spread is None else f"{_number(value)} ± {_number(spread)}"


def _gain(value: float | None, interval: list[float] | None, form: str = "+.1f") -> str:
    shown = _number(value, form)
    if interval is None:
        return shown
    return f"{shown} [{_number(interval[0], form)}, {_number(interval[1], form)}]"


def _percent(row: Mapping[str, Any]) -> str:
    if "share" not in row:
        return ""
    share, interval = row["share"]["APr"], row["share_interval"]["APr"]
    if share is None:
        return NOT_AVAILABLE
    return f"{_gain(100 * share, [100 * bound for bound in interval], '.0f')} %"
