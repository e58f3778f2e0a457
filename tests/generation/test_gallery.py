"""The page names everything, shows masks over images, and believes no name."""

from __future__ import annotations

from html.parser import HTMLParser

from mf_plugin.generation.gallery import render_gallery

DATASET = {
    "config": {"model": "m<odel", "steps": 2, "guidance": 3.0, "seed": 1},
    "counts": {"canvases": 2, "images": 1, "objects": 3, "annotations": 1},
    "rejections": {"too_small": 1, "several_components": 1},
}
EVIL = "<script>alert('x')</script>"
CATEGORIES = [
    {"id": 1, "name": "tub", "frequency": "f"},
    {"id": 2, "name": EVIL, "frequency": "r", "def": '"><img src=x>'},
    {"id": 3, "name": "never_asked_for", "frequency": "c"},
]
KEPT = {"category_id": 2, "prompt": EVIL, "reason": "", "segmentation": [[1, 2, 5, 2, 5, 6.5]]}
SMALL = {"category_id": 1, "prompt": "p", "reason": "too_small", "thumbnail": "QUJD"}
SEVERAL = {"category_id": 2, "prompt": "p", "reason": "several_components", "thumbnail": "QUJD"}
RECORDS = [
    {
        "index": 0,
        "objects": [KEPT, SMALL],
        "file_name": "images/000000000001.jpg",
        "height": 8,
        "width": 12,
    },
    {"index": 1, "objects": [SEVERAL]},
]


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.found if found == tag]


def test_images_masks_and_rejects():
    page = Tags(render_gallery(RECORDS, CATEGORIES, DATASET))
    sources = [image["src"] for image in page.all("img")]
    assert sources == [
        "images/000000000001.jpg",
        "data:image/jpeg;base64,QUJD",
        "data:image/jpeg;base64,QUJD",
    ]
    assert [polygon["points"] for polygon in page.all("polygon")] == ["1,2 5,2 5,6.5"]
    assert "several components" in page.text and "never_asked_for" not in page.text
    assert page.text.index("rejected: too small") < page.text.index("tub")


def test_rare_categories_come_first():
    page = Tags(render_gallery(RECORDS, CATEGORIES, DATASET))
    assert page.text.rindex("<script>") < page.text.rindex("tub")


def test_names_are_escaped_and_nothing_comes_from_elsewhere():
    html = render_gallery(RECORDS, CATEGORIES, DATASET)
    page = Tags(html)
    assert not page.all("script") and EVIL in page.text
    assert "http" not in html


def test_a_category_is_cut_off_and_says_so():
    page = Tags(render_gallery(RECORDS * 5, CATEGORIES, DATASET, max_kept=2, max_rejected=3))
    assert len(page.all("svg")) == 2 and "5 kept, 5 rejected; the first 2 shown" in page.text
