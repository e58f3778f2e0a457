from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2", reason="Detectron2 is not installed")

from detectron2.data import get_detection_dataset_dicts
from detectron2.data.datasets.lvis import get_lvis_instances_meta
from detectron2.data.detection_utils import get_fed_loss_cls_weights

from mf_plugin.data.provider import SyntheticDataset
from mf_plugin.detectron2 import register
from mf_plugin.detectron2.catalog import category_ids, labels_of
from mf_plugin.errors import InputError


@pytest.fixture(autouse=True)
def restored(catalogs):
    return catalogs


def labels_in(records):
    return [[a["category_id"] for a in record["annotations"]] for record in records]


def renumber(folder, ids):
    """Give the categories of a folder's json other ids, by name; those without one go."""
    path = folder / "annotations.json"
    data = json.loads(path.read_text())
    names = {c["id"]: c["name"] for c in data["categories"]}
    data["categories"] = [
        {**c, "id": ids[c["name"]]} for c in data["categories"] if c["name"] in ids
    ]
    for annotation in data["annotations"]:
        annotation["category_id"] = ids[names[annotation["category_id"]]]
    path.write_text(json.dumps(data))


def test_real_folder_with_its_own_vocabulary(real, catalogs):
    datasets, metadata = catalogs
    register("tiny", real / "train", synthetic=False)
    found = metadata.get("tiny")
    assert found.thing_classes == ["anvil", "bow", "cup"]
    assert found.thing_dataset_id_to_contiguous_id == {2: 0, 5: 1, 7: 2}
    assert {c["id"]: c["image_count"] for c in found.class_image_count} == {7: 3, 2: 1, 5: 2}
    assert found.json_file == str(real / "train/annotations.json")
    assert (found.image_root, found.evaluator_type) == (str(real / "train"), "lvis")
    records = datasets.get("tiny")
    assert labels_in(records) == [[2], [2, 0], [2, 1, 2], [1]]
    assert not any("synthetic" in record for record in records)
    assert category_ids("tiny") == {0: 2, 1: 5, 2: 7}
    # in the order of the labels, which is by id and not the json's
    weights = get_fed_loss_cls_weights("tiny", 0.5)
    assert weights.tolist() == pytest.approx([1, 2**0.5, 3**0.5])


def test_union_with_a_synthetic_folder(real, synthetic, catalogs):
    register("tiny", real / "train", synthetic=False)
    register("tiny_synthetic", synthetic, like="tiny")
    records = get_detection_dataset_dicts(["tiny", "tiny_synthetic"])
    assert labels_in(records)[4:] == [[0], [0, 0]]
    assert [bool(r.get("synthetic")) for r in records] == [False] * 4 + [True] * 2
    assert get_fed_loss_cls_weights(["tiny", "tiny_synthetic"]).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "ids, expected",
    [
        ({"cup": 1, "bow": 2, "anvil": 3}, [[0], [0, 0]]),  # numbered anew, another order
        ({"anvil": 2}, [[0], [0, 0]]),  # a subset
        ({"anvil": 7}, [[0], [0, 0]]),  # a subset under another class's id
    ],
)
def test_another_vocabulary_is_mapped_by_name(real, synthetic, catalogs, ids, expected):
    renumber(synthetic, ids)
    register("tiny", real / "train", synthetic=False)
    register("tiny_synthetic", synthetic, like="tiny")
    assert labels_in(catalogs[0].get("tiny_synthetic")) == expected


def test_a_vocabulary_that_does_not_fit_is_refused(real, lvis_folder, tmp_path, catalogs):
    folder = lvis_folder(
        tmp_path / "other",
        True,
        contents=[["cup"], ["dog"]],
        categories=((7, "cup", "f"), (2, "dog", "r")),
    )
    register("tiny", real / "train", synthetic=False)
    with pytest.raises(InputError, match="'dog' .id 2, which is 'anvil' there."):
        register("other", folder, like="tiny")
    assert "other" not in catalogs[0]


def test_cocos_80_classes_are_no_place_for_lvis(synthetic, catalogs):
    assert [label.id for label in labels_of("coco_2017_train")][:12] == [*range(1, 12), 13]
    with pytest.raises(InputError, match="'anvil' .id 2, which is 'bicycle' there"):
        register("a", synthetic, like="coco_2017_train")


def test_cups_fit_cocos_cup(lvis_folder, tmp_path, catalogs):
    folder = lvis_folder(tmp_path / "cups", True, contents=[["cup"]], first_id=5)
    register("cups", folder, like="coco_2017_train")
    names = catalogs[1].get("cups").thing_classes
    assert names == catalogs[1].get("coco_2017_train").thing_classes
    (label,) = labels_in(catalogs[0].get("cups"))[0]
    assert names[label] == "cup"


def test_lvis_v1_by_its_name(lvis_folder, tmp_path):
    folder = lvis_folder(
        tmp_path / "s", True, categories=((12, "no such thing", "r"),), contents=[["no such thing"]]
    )
    with pytest.raises(InputError, match="fit none of the detector's 1203 classes .* .id 12, whi"):
        register("mosaicfusion_lvis_v1", folder)


def test_lvis_v1_metadata_is_detectron2s(lvis_folder, tmp_path, catalogs):
    meta = get_lvis_instances_meta("lvis_v1")
    name = meta["thing_classes"][41]
    folder = lvis_folder(tmp_path / "s", True, categories=((42, name, "r"),), contents=[[name]])
    register("mosaicfusion_lvis_v1", folder)
    found = catalogs[1].get("mosaicfusion_lvis_v1")
    assert found.thing_classes == meta["thing_classes"]
    assert found.class_image_count == catalogs[1].get("lvis_v1_train").class_image_count
    assert labels_in(catalogs[0].get("mosaicfusion_lvis_v1")) == [[41]]
    assert labels_of("lvis_v1_train") == labels_of("mosaicfusion_lvis_v1")
    assert [label.id for label in labels_of("lvis_v1_train")] == list(range(1, 1204))


def test_a_custom_coco_dataset_without_classes_is_read(real, synthetic, catalogs):
    from detectron2.data.datasets import register_coco_instances

    register_coco_instances("custom", {}, str(real / "train/annotations.json"), str(real / "train"))
    register("s", synthetic, like="custom")
    records = get_detection_dataset_dicts(["custom", "s"])
    assert labels_in(records) == [[2], [2, 0], [2, 1, 2], [1], [0], [0, 0]]


@pytest.mark.parametrize("name", ["my_lvis_v1_train", "lvis_v1_cocofied"])
def test_a_name_whose_classes_come_with_loading(name, lvis_folder, tmp_path, catalogs):
    """load_lvis_json sets thing_classes by the name; ours have to be the same before that."""
    pytest.importorskip("lvis", reason="Detectron2's LVIS loader imports the package lvis")
    from detectron2.data.datasets import register_lvis_instances

    classes = get_lvis_instances_meta(name)["thing_classes"]
    zebra = classes.index("zebra") + 1
    known = tuple((i, c, "f") for i, c in enumerate(classes, 1))
    if "cocofied" in name:  # its metadata maps COCO's ids
        label_of = get_lvis_instances_meta(name)["thing_dataset_id_to_contiguous_id"]
        known = tuple((i, classes[label], "f") for i, label in label_of.items())
    train = lvis_folder(tmp_path / "train", categories=known, contents=[["zebra"]])
    other = lvis_folder(
        tmp_path / "s", True, categories=((7, "zebra", "r"),), contents=[["zebra"]], first_id=9
    )
    register_lvis_instances(name, {}, str(train / "annotations.json"), f"{train}/")
    register("s", other, like=name)
    assert labels_in(get_detection_dataset_dicts([name, "s"])) == [[zebra - 1]] * 2
    assert catalogs[1].get("s").thing_classes == catalogs[1].get(name).thing_classes


def test_registering_twice_changes_nothing(real, synthetic):
    for _ in range(2):
        register("tiny", real / "train", synthetic=False)
        register("tiny_synthetic", str(synthetic), like="tiny")
    with pytest.raises(InputError, match="'tiny' is registered for .*train, not for .*val"):
        register("tiny", real / "val", synthetic=False)
    with pytest.raises(InputError, match="'tiny_synthetic' .* other classes than those of 'lvis_v"):
        register("tiny_synthetic", synthetic, like="lvis_v1_train")
    with pytest.raises(InputError, match="'lvis_v1_train' is registered by somebody else"):
        register("lvis_v1_train", synthetic)


SPAWN = """
import multiprocessing, sys

def job(real, synthetic):
    from detectron2.data import get_detection_dataset_dicts
    from mf_plugin.detectron2 import register
    register("tiny", real, synthetic=False)
    register("tiny_synthetic", synthetic, like="tiny")
    return [r["image_id"] for r in get_detection_dataset_dicts(["tiny", "tiny_synthetic"])]

if __name__ == "__main__":
    expected = job(*sys.argv[1:])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(job, sys.argv[1:]) == expected == [1, 2, 3, 4, 1000, 1001]
"""


def test_a_spawned_process_registers_for_itself(real, synthetic, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SPAWN)
    done = subprocess.run(
        [sys.executable, str(script), str(real / "train"), str(synthetic)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr


def test_what_is_registered_can_be_sent_to_a_process(real, catalogs):
    register("tiny", real / "train", synthetic=False)
    assert pickle.loads(pickle.dumps(catalogs[0]["tiny"]))() == catalogs[0].get("tiny")


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda f: (f / "annotations.json").unlink(), "annotations.json is not a file|unfinished"),
        (lambda f: (f / "images/000000001001.jpg").unlink(), "000000001001.jpg is missing on disk"),
        (lambda f: (f / "annotations.json").write_text('{"images"'), "truncated"),
        (lambda f: (f / "dataset.json").unlink(), "unfinished synthetic dataset"),
    ],
)
def test_damage_is_named(real, synthetic, damage, message):
    damage(synthetic)
    register("tiny", real / "train", synthetic=False)
    with pytest.raises(InputError, match=message):
        register("s", synthetic, like="tiny")


def test_a_dataset_of_which_nothing_was_kept_is_named(real, lvis_folder, tmp_path, catalogs):
    register("tiny", real / "train", synthetic=False)
    register("s", lvis_folder(tmp_path / "none", True, contents=[]), like="tiny")
    with pytest.raises(InputError, match="none/annotations.json: there is no image in it"):
        catalogs[0].get("s")


def test_unknown_names_are_named(synthetic):
    with pytest.raises(InputError, match="'lvis_v1_trai' is not registered: did you mean lvis_v1"):
        register("s", synthetic, like="lvis_v1_trai")


def test_a_missing_dataset_is_generated_once_when_it_is_loaded(
    real, tmp_path, lvis_folder, monkeypatch, catalogs, generation_config
):
    config = generation_config()
    calls = []

    def ensure(self, device, **kwargs):
        calls.append((self.root, self._config))
        torch.rand(1), np.random.rand()
        if not self.root.exists():
            lvis_folder(self.root, True, contents=[["anvil"]], first_id=9)

    monkeypatch.setattr(SyntheticDataset, "ensure", ensure)
    register("tiny", real / "train", synthetic=False)
    register("s", tmp_path / "new", like="tiny", generation_config=config)
    assert calls == [], "registering does not generate"
    assert catalogs[1].get("s").thing_dataset_id_to_contiguous_id == {2: 0, 5: 1, 7: 2}
    torch.manual_seed(0), np.random.seed(0)
    expected = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(0), np.random.seed(0)
    assert labels_in(catalogs[0].get("s")) == [[0]]
    assert calls == [(tmp_path / "new", str(config))]
    assert (torch.rand(1).item(), np.random.rand()) == expected


def test_a_generation_config_in_the_place_of_a_folder(tmp_path, monkeypatch, lvis_folder, catalogs):
    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SyntheticDataset, "ensure", lambda self, device: seen.append(self._config))
    lvis_folder(tmp_path / "work_dirs/paint", True, contents=[["anvil"]])
    register("s", "configs/paint.py")
    assert catalogs[1].get("s").image_root == str(tmp_path / "work_dirs/paint")
    assert set(seen) == {str(tmp_path / "configs/paint.py")}


def test_what_will_be_generated_is_matched_before_it_is(real, tmp_path, generation_config):
    register("tiny", real / "train", synthetic=False)
    config = generation_config(vocabulary="minilvis:demo")
    with pytest.raises(InputError, match="generate_tiny.py: .* fit none of the detector's 3 class"):
        register("s", tmp_path / "new", like="tiny", generation_config=config)
    with pytest.raises(InputError, match="nowhere.py"):
        register("s", tmp_path / "new", like="tiny", generation_config=tmp_path / "nowhere.py")
    assert not (tmp_path / "new").exists()
