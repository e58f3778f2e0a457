from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS, TRANSFORMS
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.evaluation.panoptic import pixels_of_ids
from mf_plugin.mmdet.panoptic import to_segments

CATEGORIES = [dict(id=5, name="cup", isthing=1), dict(id=8, name="sky", isthing=0)]


def test_a_predicted_map_becomes_segments():
    # label + 1000 x instance: two cups, one sky, label 2 of two classes is none
    predicted = np.array([[1000, 1000, 2000], [1, 1, 2], [1, 1, 1]])
    ids, segments = to_segments(predicted, [5, 8])
    assert segments == [
        dict(id=1, category_id=8, area=5),
        dict(id=2, category_id=5, area=2),
        dict(id=3, category_id=5, area=1),
    ]
    assert ids.tolist() == [[2, 2, 3], [1, 1, 0], [1, 1, 1]]


@pytest.fixture()
def truth(tmp_path):
    """Two cups above a sky, 8 x 8."""
    ids = np.full((8, 8), 300)
    ids[:4, :4], ids[:4, 4:] = 1, 2
    (tmp_path / "truth").mkdir()
    Image.fromarray(pixels_of_ids(ids)).save(tmp_path / "truth/one.png")
    infos = [
        dict(id=1, category_id=5, area=16, bbox=[0, 0, 4, 4], iscrowd=0),
        dict(id=2, category_id=5, area=16, bbox=[4, 0, 4, 4], iscrowd=0),
        dict(id=300, category_id=8, area=32, bbox=[0, 4, 8, 4], iscrowd=0),
    ]
    data = dict(
        images=[dict(id=3, file_name="one.jpg", height=8, width=8)],
        annotations=[dict(image_id=3, file_name="one.png", segments_info=infos)],
        categories=CATEGORIES,
    )
    (tmp_path / "truth.json").write_text(json.dumps(data))
    return tmp_path


def metric(truth, classes=("cup", "sky"), **kwargs):
    config = dict(
        type="PanopticQuality",
        ann_file=str(truth / "truth.json"),
        seg_prefix=str(truth / "truth"),
        outfile_prefix=str(truth / "out/results"),
    )
    built = METRICS.build(config | kwargs)
    built.dataset_meta = dict(classes=classes)
    return built


def test_the_quality_of_predictions(truth):
    pytest.importorskip("hotcoco", reason="hotcoco is not installed")
    predicted = torch.full((1, 8, 8), 1)  # the sky everywhere but for one cup
    predicted[0, :4, :4] = 1000
    sample = dict(img_id=3, img_path="x/one.jpg", pred_panoptic_seg=dict(sem_seg=predicted))
    built = metric(truth)
    built.process(None, [sample])
    scores = built.evaluate(size=1)
    # cup: one of two found, exactly: RQ 1 / 1.5; sky: 32 of 48 pixels
    assert scores["panoptic/PQ_th"] == pytest.approx(100 / 1.5)
    assert scores["panoptic/PQ_st"] == pytest.approx(100 * 32 / 48)
    assert scores["panoptic/PQ"] == pytest.approx(100 / 1.5)
    written = json.loads((truth / "out/results.panoptic.json").read_text())["annotations"]
    assert [s["category_id"] for s in written[0]["segments_info"]] == [8, 5]
    assert (truth / "out/results.panoptic/one.png").is_file()


def test_what_is_missing_is_named(truth):
    pytest.importorskip("hotcoco", reason="hotcoco is not installed")
    with pytest.raises(InputError, match="expected the json .*none.json"):
        metric(truth, ann_file=str(truth / "none.json"))
    with pytest.raises(InputError, match="has no category 'moon'"):
        metric(truth, classes=("cup", "moon")).category_ids()


def test_maps_are_loaded_without_panopticapi(truth):
    results = dict(
        seg_map_path=str(truth / "truth/one.png"),
        ori_shape=(8, 8),
        instances=[dict(bbox=[4, 0, 8, 4], bbox_label=0, ignore_flag=0)],
        segments_info=[
            dict(id=2, category=0, is_thing=True),
            dict(id=300, category=1, is_thing=False),
        ],
    )
    load = TRANSFORMS.build(dict(type="LoadPanopticMaps"))
    loaded = load(results)
    expected = np.full((8, 8), 255)
    expected[:4, 4:], expected[4:] = 0, 1
    assert np.array_equal(loaded["gt_seg_map"], expected)
    assert loaded["gt_masks"].masks.sum() == 16 and loaded["gt_masks"].masks[0, 0, 4] == 1
    assert loaded["gt_bboxes"].tensor.tolist() == [[4, 0, 8, 4]]
