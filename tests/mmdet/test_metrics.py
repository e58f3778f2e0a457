"""RareAP on predictions as mmdet hands them over, against eval_rare on the file it writes."""

from __future__ import annotations

import json
import math

import pytest
import torch
from mmdet.registry import METRICS as REGISTRY

from mf_plugin.errors import InputError
from mf_plugin.evaluation.compare import compare_runs
from mf_plugin.evaluation.rare import METRICS, evaluate_lvis

pytest.importorskip("hotcoco")

IDS = (7, 2, 5)  # category ids by label: the order of the json


def samples(real, noise=2.0, masks=True):
    """DetDataSamples, as dicts, of a model that finds every object, moved by some noise."""
    data = json.loads((real / "val/annotations.json").read_text())
    generator = torch.Generator().manual_seed(0)
    found = []
    for image in data["images"]:
        objects = [a for a in data["annotations"] if a["image_id"] == image["id"]]
        boxes = torch.tensor([a["bbox"] for a in objects], dtype=torch.float)
        boxes[:, 2:] += boxes[:, :2]
        boxes += noise * torch.randn(boxes.shape, generator=generator)
        instances = {
            "bboxes": boxes,
            "labels": torch.tensor([IDS.index(a["category_id"]) for a in objects]),
            "scores": torch.rand(len(objects), generator=generator),
        }
        if masks:
            instances["masks"] = torch.zeros(len(objects), 64, 64, dtype=torch.bool)
            for mask, box in zip(instances["masks"], boxes.round().int().tolist()):
                mask[box[1] : box[3], box[0] : box[2]] = True
        found.append({"img_id": image["id"], "pred_instances": instances})
    return found


def measure(metric, given, **meta):
    metric.dataset_meta = {"classes": ("cup", "anvil", "bow"), **meta}
    metric.process({}, given)
    return metric.evaluate(len(given))


def test_numbers_are_those_of_eval_rare(real, tmp_path):
    truth = str(real / "val/annotations.json")
    prefix = str(tmp_path / "results")
    metric = REGISTRY.build({"type": "RareAP", "ann_file": truth, "outfile_prefix": prefix})
    found = measure(metric, samples(real), category_ids=IDS)
    of_file = evaluate_lvis(truth, f"{prefix}.segm.json")
    report = compare_runs(truth, [("run", f"{prefix}.segm.json")], num_bootstrap=0)
    assert 5 < found["lvis/segm_AP"] < 95, "neither perfect nor hopeless"
    assert len(found) == 2 * len(METRICS)
    for task in ("bbox", "segm"):
        for name in METRICS:
            expected = of_file[task][name]
            assert report["runs"]["run"][task][name] == expected
            value = found[f"lvis/{task}_{name}"]
            assert math.isnan(value) if expected is None else value == expected, name
    assert math.isnan(found["lvis/segm_APl"]), "no object is that large"


def test_a_dataset_that_knows_no_ids_has_the_jsons_order(real):
    truth = str(real / "val/annotations.json")
    config = {"type": "RareAP", "ann_file": truth}
    known = measure(REGISTRY.build(config), samples(real, masks=False), category_ids=IDS)
    derived = measure(REGISTRY.build(config), samples(real, masks=False))
    assert set(known) == {f"lvis/bbox_{m}" for m in METRICS}
    assert {k: v for k, v in known.items() if v == v} == {
        k: v for k, v in derived.items() if v == v
    }
    with pytest.raises(InputError, match="has 2 of the dataset's 3 classes"):
        metric = REGISTRY.build(config)
        measure(metric, samples(real), classes=("cup", "anvil", "lamp"))


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"categories": [', "is not valid json"),
        ('{"categories": ' + "[" * 100_000, "is nested too deep"),
        ("[]", "expected an LVIS annotation json"),
        ('{"images": [], "annotations": [], "categories": [3]}', "expected an integer id and a na"),
    ],
)
def test_a_damaged_json_is_named(tmp_path, text, message):
    path = tmp_path / "damaged.json"
    path.write_text(text)
    metric = REGISTRY.build({"type": "RareAP", "ann_file": str(path)})
    metric.dataset_meta = {"classes": ("cup",)}
    with pytest.raises(InputError, match=rf"damaged\.json.*{message}"):
        metric.category_ids()


def test_groups_from_the_training_json(real):
    path = real / "val/annotations.json"
    data = json.loads(path.read_text())
    for category in data["categories"]:
        del category["frequency"]
    path.write_text(json.dumps(data))
    train = str(real / "train/annotations.json")  # four images: every category is rare
    without = REGISTRY.build({"type": "RareAP", "ann_file": str(path)})
    given = REGISTRY.build({"type": "RareAP", "ann_file": str(path), "train_ann_file": train})
    assert math.isnan(measure(without, samples(real), category_ids=IDS)["lvis/segm_APr"])
    found = measure(given, samples(real), category_ids=IDS)
    assert found["lvis/segm_APr"] == found["lvis/segm_AP"] and math.isnan(found["lvis/segm_APc"])


def test_no_detections_and_missing_files(real, tmp_path):
    truth = str(real / "val/annotations.json")
    metric = REGISTRY.build({"type": "RareAP", "ann_file": truth})
    empty = {
        "bboxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.long),
        "scores": torch.zeros(0),
    }
    found = measure(metric, [{"img_id": 1, "pred_instances": empty}], category_ids=IDS)
    assert math.isnan(found["lvis/bbox_AP"])
    for key in ("ann_file", "train_ann_file"):
        with pytest.raises(InputError, match="nowhere.json is not a file"):
            REGISTRY.build({"type": "RareAP", "ann_file": truth, key: "nowhere.json"})
