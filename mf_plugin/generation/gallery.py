"""The page a person opens first: every category's images with their masks, and the rejects with why.

One html file beside ``images/``: images by relative links, each object's mask as SVG polygons over
its image, rejected objects as embedded thumbnails (their pixels are not in the dataset). No script;
names are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

MAX_KEPT = 60  # objects shown of a category: with LVIS's 1,203 categories the page stays usable
MAX_REJECTED = 20
_ORDER = {"r": 0, "c": 1, "f": 2}
_COLOURS = ("#ff3b6b", "#ffd23b", "#32d0ff", "#58e06f")  # one for each region, told apart on photos


@dataclass(frozen=True)
class _Kept:
    file_name: str
    height: int
    width: int
    index: int
    prompt: str
    polygons: tuple[str, ...]
    colour: str


@dataclass(frozen=True)
class _Rejected:
    thumbnail: str
    reason: str
    index: int
    prompt: str


@dataclass(frozen=True)
class _Section:
    name: str
    frequency: str
    definition: str
    num_kept: int
    num_rejected: int
    kept: tuple[_Kept, ...]
    rejected: tuple[_Rejected, ...]


def render_gallery(
    canvases: Sequence[dict[str, Any]],
    categories: Sequence[dict[str, Any]],
    dataset: dict[str, Any],
    max_kept: int = MAX_KEPT,
    max_rejected: int = MAX_REJECTED,
) -> str:
    """Return the html.

    Args:
        canvases: the store's records, in plan order.
        categories: LVIS category dicts; those without any object are left out.
        dataset: the content of dataset.json.
        max_kept, max_rejected: objects shown of one category; the rest is counted.
    """
    kept: dict[int, list[_Kept]] = {category["id"]: [] for category in categories}
    rejected: dict[int, list[_Rejected]] = {category["id"]: [] for category in categories}
    counts = {category["id"]: [0, 0] for category in categories}
    for canvas in canvases:
        for position, obj in enumerate(canvas["objects"]):
            category_id = obj["category_id"]
            counts[category_id][bool(obj["reason"])] += 1
            if obj["reason"] and len(rejected[category_id]) < max_rejected:
                rejected[category_id].append(_rejected(canvas, position))
            elif not obj["reason"] and len(kept[category_id]) < max_kept:
                kept[category_id].append(_kept(canvas, position))
    sections = [
        _Section(
            category["name"],
            category.get("frequency") or "",
            category.get("def") or "",
            *counts[category["id"]],
            tuple(kept[category["id"]]),
            tuple(rejected[category["id"]]),
        )
        for category in categories
        if any(counts[category["id"]])
    ]
    sections.sort(key=lambda section: _ORDER.get(section.frequency, len(_ORDER)))
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_TEMPLATE).render(sections=sections, dataset=dataset)


def _kept(canvas: dict[str, Any], position: int) -> _Kept:
    obj = canvas["objects"][position]
    return _Kept(
        canvas["file_name"],
        canvas["height"],
        canvas["width"],
        canvas["index"],
        obj["prompt"],
        tuple(_points(polygon) for polygon in obj["segmentation"]),
        _COLOURS[position % len(_COLOURS)],
    )


def _rejected(canvas: dict[str, Any], position: int) -> _Rejected:
    obj = canvas["objects"][position]
    return _Rejected(
        obj.get("thumbnail", ""), obj["reason"].replace("_", " "), canvas["index"], obj["prompt"]
    )


def _points(polygon: Sequence[float]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in zip(polygon[::2], polygon[1::2], strict=True))


_TEMPLATE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Synthetic images: {{ dataset.counts.images }} images</title>
<style>
  :root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent);
          --soft: color-mix(in srgb, currentColor 62%, transparent); }
  body { margin: 0; font: 15px/1.45 system-ui, sans-serif; }
  header, main { max-width: 1400px; margin: 0 auto; padding: 20px 24px; }
  h1 { margin: 0 0 4px; font-size: 24px; }
  h2 { margin: 0; font-size: 18px; }
  p { margin: 4px 0; max-width: 80ch; }
  .soft, figcaption { color: var(--soft); }
  .bar { position: sticky; top: 0; z-index: 2; background: Canvas; border-block: 1px solid var(--line);
         padding: 8px 24px; }
  nav { max-height: 22vh; overflow: auto; margin-top: 6px; columns: 180px auto; font-size: 14px; }
  nav a { display: block; text-decoration: none; color: inherit; white-space: nowrap;
          overflow: hidden; text-overflow: ellipsis; }
  nav a:hover { text-decoration: underline; }
  section { padding: 18px 0; border-top: 1px solid var(--line); scroll-margin-top: 30vh; }
  .row { display: flex; flex-wrap: wrap; gap: 12px; margin-top: 10px; }
  figure { margin: 0; width: 200px; font-size: 12px; }
  .frame { position: relative; }
  .frame img, .reject img { display: block; width: 100%; height: auto; border-radius: 4px; }
  .frame svg { position: absolute; inset: 0; width: 100%; height: 100%; }
  polygon { stroke-width: 1.5; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
  .reject { width: 96px; }
  .tag { font-size: 12px; border: 1px solid var(--line); border-radius: 9px; padding: 0 7px; }
  body:has(#masks:not(:checked)) svg, body:has(#rejects:not(:checked)) .rejects { display: none; }
  table { border-collapse: collapse; margin-top: 10px; }
  td { padding: 1px 18px 1px 0; }
  td.n { text-align: right; font-variant-numeric: tabular-nums; }
</style>
<header>
  <h1>Synthetic images</h1>
  <p>{{ dataset.counts.images }} images of {{ dataset.counts.canvases }} canvases;
     {{ dataset.counts.annotations }} of {{ dataset.counts.objects }} objects kept
     {%- if dataset.counts.objects %}
     ({{ (100 * dataset.counts.annotations / dataset.counts.objects) | round | int }} %)
     {%- endif %}.</p>
  <p class="soft">Model {{ dataset.config.model }}, {{ dataset.config.steps }} steps, guidance
     {{ dataset.config.guidance }}, seed {{ dataset.config.seed }}. Everything else is in
     dataset.json, and each canvas in manifest.jsonl.</p>
  {% if dataset.rejections %}
  <table>
    {% for reason, count in dataset.rejections.items() %}
    <tr><td class="n">{{ count }}</td><td>rejected: {{ reason | replace("_", " ") }}</td></tr>
    {% endfor %}
  </table>
  {% endif %}
</header>
<div class="bar">
  <label><input type="checkbox" id="masks" checked> masks</label>
  <label><input type="checkbox" id="rejects" checked> rejects</label>
  <nav>
    {% for section in sections %}
    <a href="#c{{ loop.index }}">{{ section.name }}
      <span class="soft">{{ section.num_kept }}/{{ section.num_kept + section.num_rejected }}</span></a>
    {% endfor %}
  </nav>
</div>
<main>
{% for section in sections %}
<section id="c{{ loop.index }}">
  <h2>{{ section.name }} {% if section.frequency %}<span class="tag">{{ section.frequency }}</span>{% endif %}</h2>
  <p class="soft">{{ section.definition }}</p>
  <p>{{ section.num_kept }} kept, {{ section.num_rejected }} rejected
    {%- if section.kept | length < section.num_kept %}; the first {{ section.kept | length }} shown{% endif %}</p>
  <div class="row">
    {% for item in section.kept %}
    <figure title="{{ item.prompt }}">
      <div class="frame">
        <a href="{{ item.file_name }}"><img loading="lazy" src="{{ item.file_name }}" width="{{ item.width }}" height="{{ item.height }}" alt="{{ section.name }}"></a>
        <svg viewBox="0 0 {{ item.width }} {{ item.height }}" preserveAspectRatio="none" pointer-events="none">
          {% for points in item.polygons %}
          <polygon points="{{ points }}" stroke="{{ item.colour }}" fill="{{ item.colour }}" fill-opacity="0.3"/>
          {% endfor %}
        </svg>
      </div>
      <figcaption>canvas {{ item.index }}</figcaption>
    </figure>
    {% endfor %}
  </div>
  {% if section.rejected %}
  <div class="rejects">
    <p class="soft">rejected{% if section.rejected | length < section.num_rejected %}, the first {{ section.rejected | length }}{% endif %}</p>
    <div class="row">
      {% for item in section.rejected %}
      <figure class="reject" title="{{ item.prompt }}">
        {% if item.thumbnail %}<img loading="lazy" src="data:image/jpeg;base64,{{ item.thumbnail }}" alt="rejected {{ section.name }}">{% endif %}
        <figcaption>{{ item.reason }}<br>canvas {{ item.index }}</figcaption>
      </figure>
      {% endfor %}
    </div>
  </div>
  {% endif %}
</section>
{% endfor %}
</main>
</html>
"""
