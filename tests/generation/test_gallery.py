"""The page holds every canvas's facts, believes no name, runs one script and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from mf_plugin.generation.gallery import GalleryLimits, read_thumbnails, render_gallery
from mf_plugin.generation.quality import JudgeScores, quality_report
from mf_plugin.generation.records import summarise

EVIL = "</script><img src=x onerror=\"document.title='broken into'\">"
CATEGORIES = [
    {"id": 1, "name": "tub", "frequency": "f"},
    {"id": 2, "name": EVIL, "frequency": "r", "def": "<b>bold</b> & \u2028 more"},
    {"id": 3, "name": "never_asked_for", "frequency": "c"},
]
PIXEL = (  # a JPEG of one pixel is enough of a thumbnail for a browser to show
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP//////////////////////////////////////////////////////////"
    "////////////////////////////wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAACf/EABQQAQAAAAAAAAAA"
    "AAAAAAAAAAD/2gAIAQEAAD8AKp//2Q=="
)
KEPT = {
    "category_id": 2,
    "prompt": EVIL,
    "reason": "",
    "segmentation": [[1.0, 2.0, 5.0, 2.0, 5.0, 6.0]],
    "area": 8.0,
    "bbox": [1.0, 2.0, 4.0, 4.0],
    "measures": {"stability": 0.75},
}
SMALL = {"category_id": 1, "prompt": "p", "reason": "too_small", "thumbnail": PIXEL}
SEVERAL = {**SMALL, "category_id": 2, "reason": "several_components"}
LAYOUT = {"height": 8, "width": 12, "regions": [[0, 0, 8, 6], [0, 6, 8, 6]]}


def accepted(index: int) -> dict:
    return {
        "index": index,
        "group": 0,
        "seed": 2**63 + index,
        "layout": LAYOUT,
        "main_region": 0,
        "prompts": [],
        "image_id": index + 1,
        "outcome": "accepted",
        "objects": [KEPT, SMALL],
        "file_name": f"images/{index + 1:012d}.jpg",
        "sha256": "ab" * 32,
        "height": 8,
        "width": 12,
        "thumbnail": PIXEL,
        "round": 3,
    }


def rejected(index: int) -> dict:
    facts = {"index": index, "group": 1, "seed": 5, "layout": LAYOUT, "image_id": index + 1}
    return {**facts, "outcome": "rejected", "objects": [SEVERAL, SMALL]}


RECORDS = [accepted(0), rejected(1)]


def render(records=RECORDS, scores=None, **options) -> str:
    dataset = {
        "config": {"model": "m<odel", "steps": 2, "canvas": [8, 12], "mask": {"scales": [1]}},
        "config_hash": "cafe",
        "device": "cpu",
        "versions": {"numpy": "2"},
        **summarise(records, CATEGORIES),
        "quality": quality_report(records, CATEGORIES, scores),
    }
    return render_gallery(records, CATEGORIES, dataset, scores, **options)


class Page(HTMLParser):
    """Elements, the text outside of scripts, and the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.titles: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "title":
            self.titles.append(data)
        elif self._inside != "style":
            self.text += data

    def handle_endtag(self, tag):
        self._inside = ""

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == tag]

    @property
    def data(self) -> dict:
        return json.loads(self.scripts[0])


def test_the_facts_of_every_canvas():
    data = Page(render()).data
    assert [category["name"] for category in data["categories"]] == [EVIL, "tub"]  # rare first
    first, second = data["canvases"]
    kept, small = first["objects"]
    assert (first["seed"], first["file_name"]) == (str(2**63), "images/000000000001.jpg")
    assert first["more"] == {"main_region": 0, "round": 3}
    assert data["layouts"][first["layout"]] == data["layouts"][second["layout"]] == LAYOUT
    assert kept["outline"] == "M1 2l4 0 0 4z"
    assert (kept["area"], kept["bbox"]) == (8, [1, 2, 4, 4])
    assert kept["measures"] == {"stability": 0.75}
    assert data["texts"][kept["text"]] == EVIL and data["texts"][small["text"]] == "p"
    assert (small["reason"], small["thumbnail"]) == ("too_small", PIXEL)
    assert "file_name" not in second and second["objects"][0]["reason"] == "several_components"


def test_no_name_is_believed_and_one_script_runs():
    page = Page(render())
    assert [s.get("type") for s in page.all("script")] == ["application/json", None]
    assert not page.all("img") and EVIL in page.text
    assert "<b>bold" not in render()
    assert "<" not in page.scripts[0] and "\u2028" not in page.scripts[0]
    assert page.data["categories"][0]["definition"] == "<b>bold</b> & \u2028 more"
    [policy] = [meta["content"] for meta in page.all("meta") if "content" in meta][1:]
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


def test_nothing_comes_from_elsewhere():
    html = render()
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    page = Page(html)
    assert not page.all("link") and not any("src" in script for script in page.all("script"))


def test_the_same_records_give_the_same_bytes():
    assert render() == render()


def test_quality_and_settings_stand_on_the_page():
    page = Page(render())
    assert "1 of 4 objects accepted (25.0 %)" in " ".join(page.text.split())
    for text in ("several components", "m<odel", "8 x 12", "scales 1", "cafe", "numpy 2"):
        assert text in page.text
    assert "never_asked_for" not in page.text and "JavaScript" in page.text
    assert "the judge" not in page.text
    titles = [svg["aria-label"] for svg in page.all("svg")]
    assert titles[0] == "Histogram: stability" and len(titles) == 5
    assert "0.75 to 0.80: 1" in page.titles  # a bar's tooltip


def test_a_judge_s_scores_and_what_they_are_not_for():
    scores = JudgeScores("the J judge", {(0, 0): 0.25}, {(0, 0): "tub"}, {"held_out_top1": 0.97})
    page = Page(render(scores=scores))
    assert page.data["canvases"][0]["objects"][0]["judged"] == [0.25, "tub"]
    assert "judged" not in page.data["canvases"][0]["objects"][1]
    text = " ".join(page.text.split())
    assert "Probability that the J judge gives to the category asked for, of 1 objects" in text
    assert "A judge only measures: nothing was kept or dropped for what it says." in text
    assert "it names 97.0 % right" in text


def test_large_outlines_are_simplified():
    steps = [(x + dx, x) for x in range(400) for dx in (0, 1)]  # a staircase
    polygon = [float(v) for point in [*steps, (0, 399)] for v in point]
    small = {**accepted(0), "objects": [{**KEPT, "segmentation": [polygon]}, SMALL]}
    large = {**small, "height": 800, "width": 800}
    outlines = [
        Page(render([record])).data["canvases"][0]["objects"][0]["outline"]
        for record in (small, large)
    ]
    assert outlines[0].count(" ") > 800 and outlines[1].count(" ") < 12
    assert outlines[1].startswith("M") and outlines[1].endswith("z")


def test_the_limits_are_said():
    records = [accepted(0), accepted(1), rejected(2), rejected(3)]
    assert "This page shows" not in render(records) and "loaded from images/" not in render(records)
    page = Page(render(records, limits=GalleryLimits(canvases=3, thumbnails=1, rejects=3)))
    canvases = page.data["canvases"]
    assert len(canvases) == 3
    assert ["thumbnail" in canvas for canvas in canvases] == [True, False, False]
    assert ["thumbnail" in o for c in canvases for o in c["objects"]] == [0, 1, 0, 1, 1, 0]
    text = " ".join(page.text.split())
    assert "This page shows the first 3 of 4 canvases" in text
    assert "The first 1 of 2 images have a thumbnail" in text
    assert "The first 3 of 4 rejected objects have a picture" in text


def test_thumbnails_are_read_back():
    assert read_thumbnails(render()) == {
        (0, None): PIXEL,
        (0, 1): PIXEL,
        (1, 0): PIXEL,
        (1, 1): PIXEL,
    }
    assert read_thumbnails("<html>another page</html>") == {}


def test_no_canvas_at_all():
    page = Page(render([]))
    assert page.data["canvases"] == [] and "0 of 0 objects accepted (n/a)" in page.text


# --- in a browser, where there is one ---

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync")
FLAGS += ("--disable-background-networking", "--disable-component-update", "--disable-quic")


@pytest.fixture
def open_page(tmp_path):
    """Opens a page as a file, with a hash, and returns what the script has made of it."""

    def open_at(fragment: str) -> Page:
        path = tmp_path / "gallery.html"
        path.write_text(render())
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        url = f"{path.as_uri()}{fragment}"
        command = [CHROMIUM, *FLAGS, profile, "--virtual-time-budget=3000", "--dump-dom", url]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return Page(result.stdout)

    return open_at


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_browser_shows_the_canvases_and_runs_no_name(open_page):
    page = open_page("")
    cards = [b for b in page.all("button") if b.get("class") == "card"]
    assert [card["aria-label"].split(":")[0] for card in cards] == ["canvas 0", "canvas 1"]
    assert page.titles[0] == "Synthetic dataset: 1 images" and not page.all("img")
    assert "4 objects on 2 of 2 canvases" in page.text and EVIL in page.text
    paths = [path["d"] for path in page.all("path")]
    assert paths == ["M1 2l4 0 0 4z"] * 2  # the dark line and the coloured one


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_the_hash_filters_and_opens_a_canvas(open_page):
    page = open_page("#category=tub&outcome=too_small&view=objects&masks=0&canvas=1&object=1")
    cards = [b["aria-label"] for b in page.all("button") if b.get("class") == "card"]
    assert cards == [f"tub, rejected: too small, canvas {index}" for index in (0, 1)]
    assert "no-masks" in page.all("body")[0]["class"]
    [dialog] = page.all("dialog")
    assert "open" in dialog and "Canvas 1" in page.text
    assert "No image was kept of this canvas" in page.text
