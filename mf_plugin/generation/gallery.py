"""The page a person opens first: every canvas with its masks, the rejects with why, the quality.

One html file beside ``images/`` that loads nothing else: style, script, thumbnails and facts are in
it, full-size images are relative links. The facts are JSON in a data block, escaped so that no name
or prompt can end it; the script inserts them as text, and the page's policy runs that one script
alone, known by its hash. The same records give the same bytes.

Cost: a canvas of four objects takes 7 kB (128 x 128 pixels) to 11 kB (about 0.8 megapixels), half
of it the thumbnail. ``GalleryLimits`` keeps the page of a huge dataset loadable.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup

from mf_plugin.errors import InputError
from mf_plugin.generation.charts import draw_grid, draw_histogram
from mf_plugin.generation.quality import UNSTABLE_BELOW, JudgeScores
from mf_plugin.generation.records import ACCEPTED, Record
from mf_plugin.jsonfile import parse_json

_SCRIPTS = ("gallery_scene.js", "gallery_page.js")
_CONDITIONING_SCRIPT = "gallery_conditioning.js"  # of pages that show what was painted over
_GROUP_WORDS = {"r": "rare", "c": "common", "f": "frequent"}
_EXACT_UP_TO = 256  # pixels of the canvas's longer side: outlines of larger ones are simplified
_TOLERANCE = 1 / 1024  # of the longer side, for simplified outlines
_MIN_TOLERANCE = 0.75  # pixels: more than the 0.71 by which steps leave a diagonal
_DATA_BLOCK = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_CONFIG_FACTS = (  # keys of the configs, of all generators
    "model",
    "scheduler",
    "steps",
    "guidance",
    "regions",
    "canvas",
    "region_size",
    "overlap",
    "jitter",
    "template",
    "mask",
    "filters",
    "reject",
    "seed",
    *("system", "text2mask", "mask2img", "source", "captions", "kind", "size", "copies"),
    *("text2mask_steps", "text2mask_guidance", "mask2img_steps", "mask2img_guidance", "gates"),
)
_HASHES = ("weights_sha256", "config_hash")
# Facts of a canvas that the page shows in words of its own; any other is shown under its name.
_KNOWN = {
    *("index", "group", "seed", "layout", "main_region", "prompts", "image_id", "outcome"),
    *("file_name", "sha256", "height", "width", "objects", "thumbnail"),
    *("conditioning", "segments_info", "category_ids", "label_sha256", "source_file_name"),
}


@dataclass(frozen=True)
class GalleryLimits:
    """What the page holds at most; what is beyond it is said on the page.

    Args:
        canvases: shown at all.
        thumbnails: canvases with an embedded thumbnail; the others load their image when seen.
        rejects: rejected objects with an embedded picture.
    """

    canvases: int = 12_000
    thumbnails: int = 4_000
    rejects: int = 6_000


def render_gallery(
    records: Sequence[Record],
    categories: Sequence[Record],
    dataset: Record,
    scores: JudgeScores | None = None,
    limits: GalleryLimits = GalleryLimits(),
) -> str:
    """Return the html.

    Args:
        records: the store's, in plan order.
        categories: LVIS category dicts; those without any object are left out.
        dataset: the content of dataset.json, with its "quality".
        scores: of a judge; the page shows them with each object.
        limits: what the page holds at most.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mf_plugin", "generation/templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = _percent
    environment.filters["words"] = lambda text: text.replace("_", " ")
    scripts = list(_SCRIPTS)
    if any("conditioning" in record for record in records):
        scripts.insert(-1, _CONDITIONING_SCRIPT)
    script = "".join(_read_template(environment, name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = _collect(records[: limits.canvases], categories, scores, limits)
    quality = dataset["quality"]
    return environment.get_template("gallery.html.jinja2").render(
        dataset=dataset,
        quality=quality,
        charts=_draw_charts(quality),
        rows=_category_rows(quality, categories),
        group_words=_GROUP_WORDS,
        config_facts=_describe_config(dataset),
        left_out=_say_left_out(records, limits),
        style=Markup(_read_template(environment, "gallery.css")),
        script=Markup(script),
        script_hash=digest,
        data=Markup(_escape_json(data)),
    )


def read_thumbnails(html: str) -> dict[tuple[int, int | str | None], str]:
    """The thumbnails that a page of ``render_gallery`` holds; none of a page of another kind.

    Raises:
        InputError: the page is damaged.

    Returns:
        base64 by (canvas index, place of the rejected object), (canvas index, None) for the canvas
        itself, or (canvas index, "conditioning") for what it was painted over.
    """
    block = _DATA_BLOCK.search(html)
    data = parse_json(block[1], "the data of the page") if block else {"canvases": []}
    if not _holds_canvases(data):
        raise InputError("the data of the page is not what render_gallery writes")
    found: dict[tuple[int, int | str | None], str] = {}
    for canvas in data["canvases"]:
        if "thumbnail" in canvas:
            found[canvas["index"], None] = canvas["thumbnail"]
        if "conditioning" in canvas:
            found[canvas["index"], "conditioning"] = canvas["conditioning"]
        for position, obj in enumerate(canvas["objects"]):
            if "thumbnail" in obj:
                found[canvas["index"], position] = obj["thumbnail"]
    return found


def _holds_canvases(data: Any) -> bool:
    """Whether a page's data has canvases whose indices and thumbnails can be read."""

    def is_sound(holder: Any) -> bool:
        return isinstance(holder, dict) and bool(_BASE64.fullmatch(holder.get("thumbnail", "")))

    try:
        return all(
            type(canvas["index"]) is int and all(map(is_sound, (canvas, *canvas["objects"])))
            for canvas in data["canvases"]
        )
    except (KeyError, TypeError):
        return False


def _collect(
    records: Sequence[Record],
    categories: Sequence[Record],
    scores: JudgeScores | None,
    limits: GalleryLimits,
) -> Record:
    """The page's data: categories rare ones first; what repeats stands once, in a table."""
    asked = {obj["category_id"] for record in records for obj in record["objects"]}
    shown = [category for category in categories if category["id"] in asked]
    order = [*_GROUP_WORDS, None]
    shown.sort(key=lambda c: (order.index(c.get("frequency") or None), c["name"]))
    places = {category["id"]: place for place, category in enumerate(shown)}
    texts: dict[str, int] = {}
    layouts: dict[str, int] = {}
    thumbnails, rejects = limits.thumbnails, limits.rejects
    canvases = []
    for record in records:
        layout = json.dumps(record.get("layout", {}))
        canvas = {
            "index": record["index"],
            "group": record.get("group"),
            "seed": str(record.get("seed", "")),  # 64 bits do not fit a number of the script
            "layout": layouts.setdefault(layout, len(layouts)),
            "objects": [],
        }
        if record["outcome"] == ACCEPTED:
            canvas |= {key: record[key] for key in ("file_name", "sha256", "height", "width")}
            if "thumbnail" in record and thumbnails > 0:
                canvas["thumbnail"] = record["thumbnail"]
                thumbnails -= 1
                if "conditioning" in record:
                    canvas["conditioning"] = record["conditioning"]
        for position, obj in enumerate(record["objects"]):
            item: Record = {"category": places[obj["category_id"]]}
            item["text"] = texts.setdefault(obj["prompt"], len(texts))
            if obj["reason"]:
                item["reason"] = obj["reason"]
                if "thumbnail" in obj and rejects > 0:
                    item["thumbnail"] = obj["thumbnail"]
                    rejects -= 1
            else:
                item["outline"] = _draw_outline(obj["segmentation"], record)
                item["area"], item["bbox"] = round(obj["area"]), [round(v) for v in obj["bbox"]]
            if obj.get("measures"):
                item["measures"] = obj["measures"]
            key = record["index"], position
            if scores is not None and key in scores.confidence:
                item["judged"] = [round(scores.confidence[key], 4), scores.named[key]]
            canvas["objects"].append(item)
        more = {key: value for key, value in record.items() if key not in _KNOWN}
        if record.get("main_region") is not None:
            more = {"main_region": record["main_region"], **more}
        if more:
            canvas["more"] = more
        canvases.append(canvas)
    return {
        "categories": [
            {
                "name": category["name"],
                "group": category.get("frequency") or "",
                "definition": category.get("def") or "",
            }
            for category in shown
        ],
        "judge": scores.judge if scores is not None else None,
        "unstable_below": UNSTABLE_BELOW,
        "texts": list(texts),
        "layouts": [json.loads(layout) for layout in layouts],
        "canvases": canvases,
    }


def _draw_outline(polygons: Sequence[Sequence[float]], record: Record) -> str:
    """Polygons as an SVG path, each point relative to the one before it, which is half the text.

    Those of a large canvas are simplified: they have a point at every step of the mask's edge.
    """
    longer_side = max(record["height"], record["width"])
    tolerance = max(_MIN_TOLERANCE, _TOLERANCE * longer_side)
    parts = []
    for polygon in polygons:
        points = np.asarray(polygon, np.float32).reshape(-1, 2).round().astype(np.int32)
        if longer_side > _EXACT_UP_TO:
            fewer = cv2.approxPolyDP(points[:, None], tolerance, True)[:, 0]
            points = fewer if len(fewer) > 2 else points
        steps = np.diff(points, axis=0).ravel().tolist()
        parts.append(f"M{points[0, 0]} {points[0, 1]}l{' '.join(map(str, steps))}z")
    return "".join(parts)


def _draw_charts(quality: Record) -> dict[str, Markup]:
    stability, area, position = quality["stability"], quality["area"], quality["position"]
    charts = {
        "stability": draw_histogram(stability["histogram"], "stability", UNSTABLE_BELOW),
        "of_region": draw_histogram(area["of_region"]["histogram"], "area over region"),
        "of_image": draw_histogram(area["of_image"]["root_histogram"], "relative size"),
        "on_canvas": draw_grid(position["on_canvas"], "object centres on the canvas"),
        "in_region": draw_grid(position["in_region"], "object centres in their regions"),
    }
    if "judge" in quality:
        charts["judge"] = draw_histogram(quality["judge"]["histogram"], "the judge's confidence")
    return charts


def _category_rows(quality: Record, categories: Sequence[Record]) -> list[Record]:
    """The report's categories, those of the lowest acceptance first."""
    groups = {category["name"]: category.get("frequency") or "" for category in categories}
    rows = [{"name": n, "group": groups[n], **row} for n, row in quality["categories"].items()]
    return sorted(rows, key=lambda row: (row["acceptance"], row["name"]))


def _describe_config(dataset: Record) -> list[tuple[str, str]]:
    config = dataset.get("config", {})
    facts = [(key, _say(config[key])) for key in _CONFIG_FACTS if config.get(key) is not None]
    facts += [(key, _say(dataset[key])) for key in _HASHES if dataset.get(key)]
    facts += [(key, _say(dataset[key])) for key in ("until", "device") if key in dataset]
    versions = dataset.get("versions", {})
    facts.append(("versions", ", ".join(f"{name} {v}" for name, v in versions.items())))
    return [(key.replace("_", " "), text) for key, text in facts]


def _say(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k.replace('_', ' ')} {_say(v)}" for k, v in value.items())
    if isinstance(value, list):
        return " x ".join(_say(v) for v in value)
    return str(value)


def _say_left_out(records: Sequence[Record], limits: GalleryLimits) -> list[str]:
    """A sentence for each limit that was reached."""
    shown = records[: limits.canvases]
    counts = Counter(r["outcome"] for r in shown if "thumbnail" in r)
    rejects = sum("thumbnail" in obj for record in shown for obj in record["objects"])
    sentences = []
    if len(records) > limits.canvases:
        sentences.append(
            f"This page shows the first {limits.canvases:,} of {len(records):,} canvases; the "
            "numbers above and manifest.jsonl have all of them."
        )
    if counts[ACCEPTED] > limits.thumbnails:
        sentences.append(
            f"The first {limits.thumbnails:,} of {counts[ACCEPTED]:,} images have a thumbnail in "
            "this page; the others are loaded from images/ when they come into view."
        )
    if rejects > limits.rejects:
        sentences.append(
            f"The first {limits.rejects:,} of {rejects:,} rejected objects have a picture in this "
            "page; of the others it has the facts alone."
        )
    return sentences


def _escape_json(data: Record) -> str:
    """JSON that html cannot read as markup, whatever text is in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _read_template(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"
