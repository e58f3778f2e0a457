"""A comparison as files: report.json for programs, report.md for a README, report.html for people.

The input is what `compare.compare_runs` returns; values are percent, None is an absent group and
shown as n/a. The page is one file without scripts or links: its plot is inline SVG.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from mf_plugin.errors import InputError
from mf_plugin.evaluation.plots import bar_plot, gain_plot, interval_plot, run_colours
from mf_plugin.jsonfile import read_json
from mf_plugin.lvis.io import write_bytes_atomic, write_json_atomic

TABLE_METRICS = ("AP", "APr", "APc", "APf")
MORE_METRICS = ("AP50", "AP75", "APs", "APm", "APl", "AR", "ARs", "ARm", "ARl")
TABLE_TYPES = (("segm", "mask"), ("bbox", "box"))
GROUP_WORDS = {"AP": "all", "APr": "rare", "APc": "common", "APf": "frequent"}
NOT_AVAILABLE = "n/a"
MINUS = "\N{MINUS SIGN}"


def write_report(report: Mapping[str, Any], out: str | Path, **extra: Any) -> dict[str, Path]:
    """Write report.json, report.md and report.html into ``out``, each atomically.

    Args:
        report: of `compare_runs`.
        out: folder, made where missing.
        extra: further keys of the json; ``title`` (str), ``commands`` and ``notes`` (lists of str)
            are shown on the page as well.

    Returns:
        {"json": path, "md": path, "html": path}
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    content = {**report, **extra}
    paths = {kind: out / f"report.{kind}" for kind in ("json", "md", "html")}
    write_json_atomic(paths["json"], content, indent=2)
    write_bytes_atomic(paths["md"], render_markdown(content).encode())
    write_bytes_atomic(paths["html"], render_html(content).encode())
    return paths


def add_to_report(path: str | Path, **extra: Any) -> None:
    """Set keys of a report.json, e.g. ``seconds={"generate": 250.0}``, atomically.

    Raises:
        InputError: the file is missing or no json object.
    """
    path = Path(path)
    report = read_json(path, "a report.json")
    if not isinstance(report, dict):
        raise InputError(f"{path}: {type(report).__name__} at the top, expected a report.json")
    write_json_atomic(path, {**report, **extra}, indent=2)


def format_table(report: Mapping[str, Any]) -> str:
    """The table as plain text for a terminal."""
    header, *rows = _table_rows(report)
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]

    def line(row: list[str]) -> str:
        first = [cell.ljust(w) for cell, w in zip(row[:2], widths[:2], strict=True)]
        return "  ".join(
            first + [c.rjust(w) for c, w in zip(row[2:], widths[2:], strict=True)]
        ).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines, previous = [line(header)], None
    for row in rows:
        if row[0] != previous:
            lines.append(rule)
        lines.append(line(row if row[0] != previous else ["", *row[1:]]))
        previous = row[0]
    return "\n".join([*lines, rule, *_footnotes(report)])


def render_markdown(report: Mapping[str, Any]) -> str:
    """The table as Markdown, with the notes and commands."""
    header, *rows = _table_rows(report)
    lines = [f"# {_title(report)}", "", f"| {' | '.join(header)} |"]
    lines.append("|---|---|" + "---:|" * (len(header) - 2))
    lines += [f"| {' | '.join(c.replace('|', chr(92) + '|') for c in row)} |" for row in rows]
    lines += ["", *(f"- {note}" for note in [*_footnotes(report), *report.get("notes", ())])]
    if report.get("commands"):
        lines += ["", "```sh", *report["commands"], "```"]
    return "\n".join(lines) + "\n"


def render_html(report: Mapping[str, Any]) -> str:
    """The page, one self-contained file."""
    environment = Environment(
        loader=PackageLoader("mf_plugin.evaluation", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(value=_value, signed=_signed, count=_count)
    names = list(report["runs"])
    base = report.get("baseline", names[0])
    types = [(t, word) for t, word in TABLE_TYPES if t in report["runs"][base]]
    scored = [(t, word) for t, word in types if report["runs"][base][t]["AP"] is not None]
    rare_type = (scored or types)[0]
    rare = _rare_rows(report, names, rare_type[0])
    real, synthetic = _instances(report)
    return environment.get_template("report.html.jinja2").render(
        title=_title(report),
        report=report,
        names=names,
        base=base,
        types=types,
        metrics=TABLE_METRICS,
        group_words=GROUP_WORDS,
        headline=_headline(report, base),
        more=_more_rows(report, names, scored),
        more_metrics=MORE_METRICS,
        plots=[(word, bar_plot(report, t, TABLE_METRICS)) for t, word in scored],
        intervals=[
            (word, plot) for t, word in scored if (plot := interval_plot(report, t, TABLE_METRICS))
        ],
        gains=[
            (name, gain_plot([{**r, "gain": r["gains"][i]} for r in rare]))
            for i, name in enumerate(n for n in names if n != base)
            if rare
        ],
        rare=rare,
        rare_type=rare_type[1],
        real_counts=real is not None,
        synthetic_names=list(synthetic),
        footnotes=_footnotes(report),
        colours=run_colours(names),
    )


def _title(report: Mapping[str, Any]) -> str:
    return report.get("title") or "Rare-category AP"


def _value(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else f"{value:.1f}".replace("-", MINUS)


def _signed(value: float | None) -> str:
    if value is None:
        return NOT_AVAILABLE
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def _count(value: int | None) -> str:
    return NOT_AVAILABLE if value is None else f"{value:,}"


def _table_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """Header, then for mask and box a row per run and a row per difference with its interval."""
    rows = [["", "run", *TABLE_METRICS]]
    names = list(report["runs"])
    for iou_type, word in TABLE_TYPES:
        for name in names:
            metrics = report["runs"][name].get(iou_type)
            if metrics is None:
                continue
            spread = report.get("std", {}).get(name, {}).get(iou_type, {})
            cells = [_with_spread(metrics.get(m), spread.get(m)) for m in TABLE_METRICS]
            rows.append([word, _run_label(report, name), *cells])
        for name, delta in report.get("delta", {}).items():
            if iou_type not in delta:
                continue
            interval = report.get("interval", {}).get(name, {}).get(iou_type, {})
            cells = [_with_interval(delta[iou_type].get(m), interval.get(m)) for m in TABLE_METRICS]
            rows.append([word, f"{name} {MINUS} {report.get('baseline', names[0])}", *cells])
    return rows


def _run_label(report: Mapping[str, Any], name: str) -> str:
    seeds = report.get("seeds", {}).get(name, 1)
    return f"{name} ({seeds} seeds)" if seeds > 1 else name


def _with_spread(value: float | None, spread: float | None) -> str:
    return _value(value) if None in (value, spread) else f"{_value(value)} ± {_value(spread)}"


def _with_interval(value: float | None, interval: list[float] | None) -> str:
    if value is None or interval is None:
        return _signed(value)
    return f"{_signed(value)} [{_signed(interval[0])}, {_signed(interval[1])}]"


def _footnotes(report: Mapping[str, Any]) -> list[str]:
    truth, bootstrap = report.get("ground_truth"), report.get("bootstrap")
    notes = []
    if truth:
        notes.append(
            f"LVIS AP in percent on {truth['images']} images with {truth['objects']} objects; "
            + (
                f"groups: {truth['groups']}."
                if truth["groups"]
                else "the data has no frequency groups."
            )
        )
    if report.get("fixed", {}).get("detections"):
        notes.append(
            f"Fixed AP (arXiv 2102.01066): the best {report['fixed']['detections']:,} detections "
            "of each category in all images, without a limit per image."
        )
    several = max(report.get("seeds", {"": 1}).values()) > 1
    if several:
        notes.append("Values are means over seeds, ± their standard deviation.")
    if bootstrap and bootstrap["draws"] and report.get("delta"):
        what = "images and seeds" if several else "images"
        notes.append(
            f"{100 * bootstrap['confidence']:.0f} % intervals of the difference: "
            f"{bootstrap['draws']} paired bootstrap draws of {what}."
        )
    return notes


def _headline(report: Mapping[str, Any], base: str) -> list[dict[str, Any]]:
    """Mask APr of every run but the baseline, else the first number that exists."""
    found = []
    for name, delta in report.get("delta", {}).items():
        for iou_type, metric in (("segm", "APr"), ("bbox", "APr"), ("segm", "AP"), ("bbox", "AP")):
            if delta.get(iou_type, {}).get(metric) is not None:
                found.append(
                    {
                        "name": name,
                        "metric": f"{dict(TABLE_TYPES)[iou_type]} {metric}",
                        "from": report["runs"][base][iou_type][metric],
                        "to": report["runs"][name][iou_type][metric],
                        "delta": delta[iou_type][metric],
                        "interval": report.get("interval", {})
                        .get(name, {})
                        .get(iou_type, {})
                        .get(metric),
                    }
                )
                break
    return found


def _more_rows(
    report: Mapping[str, Any], names: list[str], types: list[tuple[str, str]]
) -> list[dict[str, Any]]:
    """``MORE_METRICS`` of every run, then fixed AP and fixed APr where they were measured."""
    rows = []
    for iou_type, word in types:
        for name in names:
            values = [report["runs"][name][iou_type].get(m) for m in MORE_METRICS]
            if "fixed" in report:
                fixed = report["fixed"]["runs"][name][iou_type]
                values += [fixed["AP"], fixed["APr"]]
            rows.append({"word": word, "name": name, "values": values})
    return rows


def _rare_rows(report: Mapping[str, Any], names: list[str], iou_type: str) -> list[dict[str, Any]]:
    """Rare categories with ground truth: AP of every run, largest gain of the last run first;
    beside it the training instances: real ones, and synthetic ones of each run that has some."""
    per_category = report.get("per_category", {})
    real, synthetic = _instances(report)
    rows = []
    for category in report.get("categories", ()):
        key = str(category["id"])
        values = [per_category.get(n, {}).get(iou_type, {}).get(key) for n in names]
        if category["frequency"] == "r" and values[0] is not None:
            rows.append(
                {
                    "name": category["name"].replace("_", " "),
                    "values": values,
                    "gains": [None if v is None else v - values[0] for v in values[1:]],
                    "real": None if real is None else real[key],
                    "synthetic": [counts[key] for counts in synthetic.values()],
                }
            )
    rows.sort(key=lambda r: (-(r["gains"][-1] or 0) if r["gains"] else 0, r["name"]))
    return rows


def _instances(
    report: Mapping[str, Any],
) -> tuple[dict[str, int] | None, dict[str, dict[str, int]]]:
    instances = report.get("instances") or {}
    return instances.get("real"), instances.get("synthetic") or {}
