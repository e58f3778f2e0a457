from __future__ import annotations

import json
import math

import pytest
import torch

pytest.importorskip("detectron2", reason="Detectron2 is not installed")
pytest.importorskip("hotcoco", reason="hotcoco is not installed")

from detectron2.evaluation import LVISEvaluator
from detectron2.structures import Boxes, Instances

from mf_plugin.detectron2 import RareAPEvaluator, register
from mf_plugin.errors import InputError
from mf_plugin.evaluation.rare import METRICS, evaluate_lvis


@pytest.fixture(autouse=True)
def tiny(catalogs, real):
    register("tiny_train", real / "train", synthetic=False)
    register("tiny", real / "val", like="tiny_train", synthetic=False)


def predictions(real, *, masks=True, noise=0.0, seed=0):
    """Inputs and outputs of a model that finds every object, moved by some noise."""
    data = json.loads((real / "val/annotations.json").read_text())
    label_of = {2: 0, 5: 1, 7: 2}
    generator = torch.Generator().manual_seed(seed)
    inputs, outputs = [], []
    for image in data["images"]:
        objects = [a for a in data["annotations"] if a["image_id"] == image["id"]]
        boxes = torch.tensor([a["bbox"] for a in objects], dtype=torch.float)
        boxes[:, 2:] += boxes[:, :2]
        boxes += noise * torch.randn(boxes.shape, generator=generator)
        found = Instances((64, 64))
        found.pred_boxes = Boxes(boxes)
        found.pred_classes = torch.tensor([label_of[a["category_id"]] for a in objects])
        found.scores = torch.rand(len(objects), generator=generator)
        if masks:
            found.pred_masks = torch.zeros(len(objects), 64, 64, dtype=torch.bool)
            for mask, box in zip(found.pred_masks, boxes.round().int().tolist()):
                mask[box[1] : box[3], box[0] : box[2]] = True
        inputs.append({"image_id": image["id"]})
        outputs.append({"instances": found})
    return inputs, outputs


def measure(evaluator, given):
    evaluator.reset()
    evaluator.process(*given)
    return evaluator.evaluate()


def test_a_perfect_detector_has_100_in_every_group(real, tmp_path):
    scores = measure(RareAPEvaluator("tiny", str(tmp_path / "results")), predictions(real))
    for task in ("bbox", "segm"):
        assert set(scores[task]) == set(METRICS)
        assert [scores[task][m] for m in ("AP", "APr", "APc", "APf")] == pytest.approx([100] * 4)
        assert math.isnan(scores[task]["APl"]), "no object is that large"
    written = json.loads((tmp_path / "results.segm.json").read_text())
    assert sorted(d["category_id"] for d in written) == [2, 5, 5, 7, 7, 7, 7]


def test_numbers_are_those_of_the_file_and_of_detectron2s_evaluator(real, tmp_path, monkeypatch):
    pytest.importorskip("lvis", reason="lvis is not installed")
    import numpy

    monkeypatch.setattr(numpy, "float", float, raising=False)  # lvis 0.5.3 needs it
    given = predictions(real, noise=2.0)
    ours = measure(RareAPEvaluator("tiny", str(tmp_path / "results")), given)
    of_file = evaluate_lvis(real / "val/annotations.json", tmp_path / "results.segm.json")
    theirs = measure(LVISEvaluator("tiny"), given)
    assert 5 < ours["segm"]["AP"] < 95, "neither perfect nor hopeless"
    for task in ("bbox", "segm"):
        for metric in METRICS:
            if math.isnan(ours[task][metric]):
                assert of_file[task][metric] is None and theirs[task].get(metric, -100) == -100
                continue
            assert ours[task][metric] == of_file[task][metric]
            if metric in theirs[task]:  # it has no AR
                assert ours[task][metric] == pytest.approx(theirs[task][metric], abs=1e-6)


def test_mmdets_metric_gives_the_same_numbers(real, tmp_path):
    pytest.importorskip("mmdet", reason="MMDetection is not installed")
    from mmdet.registry import METRICS as REGISTRY

    import mf_plugin.mmdet  # noqa: F401  registers

    given = predictions(real, noise=2.0)
    ours = measure(RareAPEvaluator("tiny"), given)
    metric = REGISTRY.build({"type": "RareAP", "ann_file": str(real / "val/annotations.json")})
    metric.dataset_meta = {"category_ids": (2, 5, 7)}
    samples = []
    for image, output in zip(*given):
        found = output["instances"]
        fields = {
            "bboxes": found.pred_boxes.tensor,
            "labels": found.pred_classes,
            "scores": found.scores,
            "masks": found.pred_masks,
        }
        samples.append({"img_id": image["image_id"], "pred_instances": fields})
    metric.process({}, samples)
    theirs = metric.evaluate(len(samples))
    for task in ("bbox", "segm"):
        for name in METRICS:
            expected = ours[task][name]
            value = theirs[f"lvis/{task}_{name}"]
            assert value == expected or (math.isnan(value) and math.isnan(expected)), name


def test_boxes_alone(real, tmp_path):
    evaluator = RareAPEvaluator(["tiny"], str(tmp_path / "results"))
    scores = measure(evaluator, predictions(real, masks=False))
    assert list(scores) == ["bbox"]
    assert (tmp_path / "results.bbox.json").is_file()


def test_no_detections(tmp_path):
    evaluator = RareAPEvaluator("tiny", str(tmp_path / "results"))
    scores = measure(evaluator, ([{"image_id": 1}], [{"instances": empty()}]))
    assert math.isnan(scores["bbox"]["AP"])
    assert json.loads((tmp_path / "results.bbox.json").read_text()) == []


def empty():
    found = Instances((64, 64))
    found.pred_boxes, found.scores = Boxes(torch.zeros(0, 4)), torch.zeros(0)
    found.pred_classes = torch.zeros(0, dtype=torch.long)
    return found


def test_without_hotcoco_predictions_are_written(real, tmp_path, monkeypatch, caplog):
    from mf_plugin.detectron2 import evaluator as module
    from mf_plugin.extras import MissingExtra

    def missing(*_):
        raise MissingExtra('hotcoco is missing: pip install -e ".[eval]"')

    monkeypatch.setattr(module, "require", missing)
    evaluator = RareAPEvaluator("tiny", str(tmp_path / "results"))
    assert "hotcoco is missing" in caplog.text
    assert measure(evaluator, predictions(real)) == {}
    assert (tmp_path / "results.segm.json").is_file()


def test_what_it_cannot_measure_is_named(catalogs):
    with pytest.raises(InputError, match="measures one dataset, got a, b"):
        RareAPEvaluator(["a", "b"])
    catalogs[0].register("bare", list)
    catalogs[1].get("bare").thing_classes = ["cup"]
    with pytest.raises(InputError, match="'bare' has no json_file"):
        RareAPEvaluator("bare")
