"""A finished folder of a stranger: what its page is made of is checked, and paths stay inside."""

from __future__ import annotations

import json

import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.dataset_quality import DatasetJudge, score_objects
from mf_plugin.fuzz import seeds
from mf_plugin.generation.finished import read_finished, rewrite_report

EVIL = "</script><img src=x onerror=alert(1)>"


@pytest.fixture
def write(tmp_path):
    """Writes the folder with a change: ``write(name, change)``, ``change`` called on the value."""

    def write(name="", change=lambda value: None):
        for other, content in seeds.finished().items():
            if other == name and not isinstance(content, str):
                change(content)
            if other == name and isinstance(content, str):
                content = change(content)
            if isinstance(content, list):
                content = "".join(json.dumps(line) + "\n" for line in content)
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / other).write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_the_folder_itself_is_sound(write):
    assert rewrite_report(write())["all"]["objects"] == 3


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("file_name", "../../secret.jpg", "file_name is '../../secret.jpg'; expected images/NAME"),
        ("file_name", "/etc/secret.jpg", "expected images/NAME"),
        ("file_name", "file:///etc/a.jpg", "expected images/NAME"),
        ("file_name", "images/000000000002.jpg", "has the file 'images/000000000002.jpg'"),
        ("index", "0", "expected an index from 0"),
        ("index", 1, "manifest line 1 appears twice"),
        ("image_id", True, "image_id is True"),
        ("outcome", "maybe", "outcome is 'maybe'"),
        ("reasons", [1, ""], "reasons is"),
        ("prompts", [{"category_id": 9, "text": "a"}] * 2, "unknown category id 9"),
        ("measures", [{"stability": None}, {}], "measures is"),
        ("layout", {"regions": [[0, 0, 0, 0]] * 2, "height": 16, "width": 24}, "region "),
        ("layout", {"regions": [[0, 0, 8, 8]], "height": 16, "width": 24}, "expected one of each"),
        ("seed", -1, "seed is -1"),
    ],
)
def test_a_line_of_the_manifest_is_checked(write, key, value, message):
    folder = write("manifest.jsonl", lambda lines: lines[0].update({key: value}))
    with pytest.raises(InputError, match=message.replace("[", "\\[")):
        read_finished(folder)


@pytest.mark.parametrize(
    "changes, message",
    [({"counts": None}, "counts None"), ({"counts": {"images": EVIL}}, "counts"),
     ({"config": []}, "config \\[\\]; expected an object")],
)  # fmt: skip
def test_dataset_json_is_checked(write, changes, message):
    with pytest.raises(InputError, match=message):
        rewrite_report(write("dataset.json", lambda dataset: dataset.update(changes)))


@pytest.mark.parametrize(
    "data", ["{", "[]", '{"canvases": [{}]}', '{"canvases": [{"index": 0, "objects": [3]}]}',
             '{"canvases": [{"index": 0, "objects": [], "thumbnail": "\\"<img>"}]}']
)  # fmt: skip
def test_a_damaged_page_is_named(write, data):
    def change(page):
        head = page.split('<script type="application/json" id="data">')[0]
        return f'{head}<script type="application/json" id="data">{data}</script>'

    with pytest.raises(InputError, match="gallery.html is damaged"):
        read_finished(write("gallery.html", change))


def test_hostile_names_and_prompts_stay_text(write):
    def rename(annotations):
        annotations["categories"][0] |= {"name": EVIL, "def": EVIL, "synonyms": [EVIL]}

    def reword(lines):
        lines[0]["prompts"][0]["text"] = EVIL
        lines[0]["reasons"][1] = EVIL
        lines[0]["extra"] = {EVIL: EVIL}

    folder = write("manifest.jsonl", reword)
    annotations = json.loads((folder / "annotations.json").read_text())
    rename(annotations)
    (folder / "annotations.json").write_text(json.dumps(annotations))
    dataset = json.loads((folder / "dataset.json").read_text())
    dataset |= {"device": EVIL, "versions": {EVIL: EVIL}}
    dataset["config"] |= {"template": EVIL, "mask": {EVIL: [EVIL]}}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    rewrite_report(folder)
    page = (folder / "gallery.html").read_text()
    assert "<img" not in page and page.count("</script>") == 2
    assert "\\u003c/script\\u003e" in page and "&lt;/script&gt;" in page


def test_a_judge_reads_no_image_outside(write, tmp_path):
    folder = write()
    (tmp_path / "images").mkdir()
    secret = tmp_path.parent / "secret.jpg"
    secret.write_bytes(b"no picture")
    (tmp_path / "images/000000000001.jpg").symlink_to(secret)
    judge = DatasetJudge("J", ("cup", "anvil"), lambda crops: pytest.fail("it was read"))
    with pytest.raises(InputError, match="is a link that leads out of"):
        score_objects(read_finished(folder), judge)
