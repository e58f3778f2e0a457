"""Whatever a json says, an image lies below its dataset's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mf_plugin.errors import InputError
from mf_plugin.lvis.io import validate_lvis
from mf_plugin.lvis.paths import file_inside, image_file, image_path, is_inside

OUTSIDE = [
    *("", ".", "..", "/", "/etc/passwd", "../a.jpg", "a/../../b.jpg", "a//b.jpg", "a/", "a/./b"),
    *("a\\..\\b.jpg", "..\\a", "a\0.jpg", "C:/a.jpg", "c:a.jpg", "file:/etc/passwd", "data:x/y"),
    *("a/" + "x" * 256, "a/" * 2100 + "b", "a/\ud800.jpg", 3, None, ["a"]),
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_what_leaves_the_folder_or_is_no_path(tmp_path, path):
    assert not is_inside(path)
    with pytest.raises(InputError, match="is not a path inside"):
        file_inside(tmp_path, path)


@pytest.mark.parametrize(
    "url",
    ["http://images.cocodataset.org/train2017/1.jpg", "train2017/1.jpg", "s3://b/train2017/1.jpg"],
)
def test_lvis_s_urls_are_paths(tmp_path, url):
    assert image_file(tmp_path, {"id": 1, "coco_url": url}) == tmp_path / "train2017/1.jpg"


@pytest.mark.parametrize(
    "url", ["http://host/../a.jpg", "http://host//etc/passwd", "http://host", "x://"]
)
def test_urls_that_lead_out(url):
    with pytest.raises(InputError, match="is not a path inside the dataset"):
        image_path({"id": 1, "coco_url": url})


@given(st.text(st.sampled_from("./\\:\0ab~"), max_size=12))
def test_a_path_that_is_inside_stays_inside(path):
    if is_inside(path):
        assert os.path.normpath(f"/root/{path}") == f"/root/{path}"
        assert Path("/root", path).is_relative_to("/root") and path != ""


@pytest.fixture
def root(tmp_path):
    """A dataset with an image, a link to it, a link out, and a folder that is a link out."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    (root / "images").mkdir(parents=True)
    outside.mkdir()
    for path in (outside / "1.jpg", root / "images/1.jpg"):
        path.touch()
    (root / "images/out.jpg").symlink_to(outside / "1.jpg")
    (root / "images/in.jpg").symlink_to("1.jpg")
    (root / "linked").symlink_to(outside)
    return root


def dataset(url: str) -> dict:
    image = {"id": 1, "height": 8, "width": 8, "coco_url": url}
    image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    return {"categories": [{"id": 1, "name": "cat"}], "images": [image], "annotations": []}


def test_links_that_stay(root):
    assert file_inside(root, "images/in.jpg").is_file()
    validate_lvis(dataset("images/in.jpg"), root)


@pytest.mark.parametrize("path", ["images/out.jpg", "linked/1.jpg"])
def test_links_that_lead_out(root, path):
    with pytest.raises(InputError, match="is a link that leads out of"):
        file_inside(root, path)
    with pytest.raises(InputError, match="is a link that leads out of"):
        validate_lvis(dataset(path), root)


def test_a_user_s_own_linked_folder_of_images(root):
    validate_lvis(dataset("linked/1.jpg"), root, linked=True)
    with pytest.raises(InputError, match="is a link that leads out of"):
        validate_lvis(dataset("images/out.jpg"), root, linked=True)


def test_a_root_that_is_a_link_itself(root, tmp_path):
    (tmp_path / "short").symlink_to(root)
    validate_lvis(dataset("images/1.jpg"), tmp_path / "short")
