"""The dataset folder: contract 2 of the design, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.generation.records import CanvasResult, EncodedCanvas, ObjectResult, encode_canvas
from mf_plugin.generation.store import DatasetStore, check_destination, remove_dataset
from mf_plugin.lvis.io import read_lvis, validate_lvis

CATEGORIES = [{"id": 5, "name": "cat", "frequency": "r"}, {"id": 2, "name": "dog"}]
ENVIRONMENT = {"device": "cpu", "versions": {"numpy": "2"}}


def box_mask(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((16, 24), bool)
    mask[top:bottom, left:right] = True
    return mask


def canvas(index: int, *objects: ObjectResult, image: bool = True) -> EncodedCanvas:
    prompts = [{"category_id": obj.category_id, "text": obj.prompt} for obj in objects]
    planned = {"index": index, "seed": 10 + index, "layout": {}, "prompts": prompts}
    pixels = np.full((16, 24, 3), 9, np.uint8) if image else None
    return encode_canvas(CanvasResult(planned, pixels, objects), 95)


CAT = ObjectResult(5, "a cat", box_mask(2, 3, 8, 13), measures={"stability": 0.71239})
DOG = ObjectResult(2, "a dog", box_mask(9, 0, 12, 4))
NO_CAT = ObjectResult(5, "a cat", None, "image_rejected")
NO_DOG = ObjectResult(2, "a dog", None, "too_small", np.zeros((8, 8, 3), np.uint8))


def make_store(folder: Path, **identity) -> DatasetStore:
    return DatasetStore(
        folder,
        identity={
            "config": {"seed": 0, "steps": 2, "guidance": 3, "model": "m", **identity},
            "config_hash": str(identity),
        },
        environment=ENVIRONMENT,
        categories=CATEGORIES,
    )


def fill(store: DatasetStore, groups: tuple[int, ...] = (0, 1)) -> None:
    """Add the groups that are not done."""
    contents = {
        0: [canvas(0, CAT, NO_DOG), canvas(1, NO_DOG, NO_DOG)],
        1: [canvas(2, CAT, DOG), canvas(3, NO_CAT, NO_DOG, image=False)],
    }
    for group in groups:
        if not store.complete and store.outcomes(group) is None:
            store.add(group, contents[group], seconds=1.5)


def hash_files(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file but run.json."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


@pytest.fixture
def finished(tmp_path) -> Path:
    with make_store(tmp_path / "set") as store:
        fill(store)
        return store.finalise(2, {"host": "h"})


def test_the_folder_is_the_contract_s(finished):
    assert sorted(path.name for path in finished.iterdir()) == [
        ".generate.lock",
        "annotations.json",
        "dataset.json",
        "gallery.html",
        "images",
        "manifest.jsonl",
        "run.json",
    ]
    assert sorted(path.name for path in (finished / "images").iterdir()) == [
        "000000000001.jpg",
        "000000000003.jpg",
    ]


def test_annotations_are_lvis(finished):
    data = read_lvis(finished / "annotations.json")
    validate_lvis(data, finished)
    assert data["images"][0] == {
        "id": 1,
        "file_name": "images/000000000001.jpg",
        "coco_url": "images/000000000001.jpg",
        "height": 16,
        "width": 24,
        "neg_category_ids": [],
        "not_exhaustive_category_ids": [2],
    }
    assert data["images"][1]["not_exhaustive_category_ids"] == []
    assert [(a["id"], a["image_id"], a["category_id"]) for a in data["annotations"]] == [
        (1, 1, 5),
        (2, 3, 5),
        (3, 3, 2),
    ]
    assert data["annotations"][0]["bbox"] == [3, 2, 10, 6]
    assert data["annotations"][0]["area"] == 60
    assert [(c["name"], c["image_count"], c["instance_count"]) for c in data["categories"]] == [
        ("cat", 2, 2),
        ("dog", 1, 1),
    ]


def test_polygons_decode_to_the_mask(finished):
    mask_utils = pytest.importorskip("pycocotools.mask")
    annotation = read_lvis(finished / "annotations.json")["annotations"][0]
    decoded = mask_utils.decode(
        mask_utils.merge(mask_utils.frPyObjects(annotation["segmentation"], 16, 24))
    )
    union, both = decoded.astype(bool) | CAT.mask, decoded.astype(bool) & CAT.mask
    assert both.sum() / union.sum() > 0.8


def test_manifest_has_a_line_for_every_planned_canvas(finished):
    lines = [json.loads(line) for line in (finished / "manifest.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2, 3]
    assert [line["outcome"] for line in lines] == ["accepted", "rejected", "accepted", "rejected"]
    assert [line["seed"] for line in lines] == [10, 11, 12, 13]
    assert lines[0]["reasons"] == ["", "too_small"]
    assert lines[0]["measures"] == [{"stability": 0.7124}, {}]
    jpeg = (finished / lines[0]["file_name"]).read_bytes()
    assert lines[0]["sha256"] == hashlib.sha256(jpeg).hexdigest()
    assert "file_name" not in lines[1] and "objects" not in lines[1]


def test_provenance_counts(finished):
    data = json.loads((finished / "dataset.json").read_text())
    assert data["config"]["seed"] == 0 and data["versions"] == {"numpy": "2"}
    assert data["counts"] == {"canvases": 4, "images": 2, "objects": 8, "annotations": 3}
    assert data["rejections"] == {"image_rejected": 1, "too_small": 4}
    assert data["categories"]["dog"] == {"accepted": 1, "too_small": 4}
    assert data["quality"]["stability"]["objects"] == 2
    assert data["quality"]["categories"]["cat"]["acceptance"] == 0.6667
    run = json.loads((finished / "run.json").read_text())
    assert run == {"host": "h", "group_seconds": 3.0}


def test_images_are_the_pixels(finished):
    image = np.asarray(Image.open(finished / "images" / "000000000001.jpg"))
    assert image.shape == (16, 24, 3) and abs(image.astype(int) - 9).max() <= 2


def test_groups_may_come_in_any_order_and_in_several_sessions(finished, tmp_path):
    with make_store(tmp_path / "other") as store:
        fill(store, (1,))
        assert store.outcomes(0) is None
        assert store.outcomes(1) == {"accepted": 2, "image_rejected": 1, "too_small": 1}
        with pytest.raises(ValueError, match="group 0 of 2 is not done"):
            store.finalise(2, {})
    with make_store(tmp_path / "other") as store:
        fill(store, (0,))
        store.finalise(2, {})
    assert hash_files(tmp_path / "other") == hash_files(finished)


def test_a_group_without_its_image_or_with_a_damaged_record_is_made_again(tmp_path):
    with make_store(tmp_path / "set") as store:
        fill(store)
        (tmp_path / "set" / "images" / "000000000001.jpg").unlink()
        (tmp_path / "set" / "groups" / "00000001.json").write_text('{"canvases": [')
        assert store.outcomes(0) is None and store.outcomes(1) is None


def test_another_environment_on_the_way_is_told(tmp_path):
    with make_store(tmp_path / "set") as store:
        fill(store, (0,))
    with make_store(tmp_path / "set") as store:
        store.environment = {"device": "cuda", "versions": {"numpy": "3"}}
        fill(store, (1,))
        store.finalise(2, {})
    data = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert data["device"] == "cpu"
    assert data["later_environments"] == [{"device": "cuda", "versions": {"numpy": "3"}}]


@pytest.mark.parametrize("groups", [(0,), (0, 1)])
def test_another_config_is_refused_with_the_difference(tmp_path, groups):
    with make_store(tmp_path / "set") as store:
        fill(store, groups)
        if groups == (0, 1):
            store.finalise(2, {})
    before = hash_files(tmp_path / "set")
    with pytest.raises(InputError, match=re.escape("(config.seed: 0 -> 1)")):
        make_store(tmp_path / "set", seed=1).__enter__()
    assert hash_files(tmp_path / "set") == before


def test_two_writers_of_one_folder(tmp_path):
    with make_store(tmp_path / "set") as store:
        fill(store, (0,))
        with pytest.raises(InputError, match="another process is writing .*set"):
            make_store(tmp_path / "set").__enter__()
    with make_store(tmp_path / "set") as store:
        assert store.outcomes(0) is not None


def test_an_error_before_the_first_group_leaves_nothing(tmp_path):
    with pytest.raises(InputError), make_store(tmp_path / "set"):
        raise InputError("the model does not fit")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("below", ["file", "file/deeper/still"])
def test_a_destination_below_a_file(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write .*/file is not a folder"):
        check_destination(tmp_path / below)


def test_a_folder_with_other_files_is_not_touched(tmp_path):
    (tmp_path / "letter.txt").touch()
    with pytest.raises(InputError, match=r"holds other files \(letter.txt\)"):
        check_destination(tmp_path)
    check_destination(tmp_path / "new" / "deeper")


def test_remove_dataset_takes_its_own_files_alone(finished):
    (finished / "notes.txt").touch()
    remove_dataset(finished)
    assert sorted(path.name for path in finished.iterdir()) == [".generate.lock", "notes.txt"]
    (finished / "notes.txt").unlink()
    remove_dataset(finished)
    assert not finished.exists()


# In a process of its own, which is free to fork: a child dies by SIGKILL just before or just after
# it renames a file into place for the n-th time; then the parent goes on in the same folder.
DIE_EVERYWHERE = """
import os, signal, sys, importlib.util
from pathlib import Path
test_file, folder, calm = sys.argv[1:]
spec = importlib.util.spec_from_file_location("test_store", test_file)
test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(test)
folder, expected, replace = Path(folder), test.hash_files(Path(calm)), os.replace

def run():
    with test.make_store(folder) as store:
        test.fill(store)
        store.finalise(2, {})

def die_at(n, before):
    left = n
    def dying(*arguments):
        nonlocal left
        left -= 1
        if not (before and left == 0):
            replace(*arguments)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    os.replace = dying
    run()
    os._exit(0)

deaths = 0
for n in range(1, 100):
    for before in (True, False):
        pid = os.fork() or die_at(n, before)
        died = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        deaths += died
        run()
        assert test.hash_files(folder) == expected, f"died at rename {n}, before it: {before}"
        test.remove_dataset(folder)
    if not died:
        break
print(deaths)
"""


def test_killed_at_every_rename_it_ends_with_the_same_bytes(finished, tmp_path):
    """10 renames: identity, 2 x (image, record), annotations, manifest, gallery, run, dataset."""
    result = subprocess.run(
        [sys.executable, "-c", DIE_EVERYWHERE, __file__, str(tmp_path / "dying"), str(finished)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert result.stdout == "20\n", result.stderr
