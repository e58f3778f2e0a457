"""`--synthetic DIR` on the configs that Detectron2 itself ships, none of them changed.

Their datasets stand in by tiny ones of the same names, formats and classes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

detectron2 = pytest.importorskip("detectron2", reason="Detectron2 is not installed")

from detectron2.config import CfgNode, instantiate
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances, register_lvis_instances
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES, _get_builtin_metadata
from detectron2.data.datasets.lvis import get_lvis_instances_meta
from detectron2.data.datasets.lvis_v1_categories import LVIS_CATEGORIES

from mf_plugin.detectron2 import Trainer
from mf_plugin.detectron2.loaders import sampler_of
from mf_plugin.detectron2.training import TrainingOptions, build_config
from mf_plugin.errors import InputError

# A checkout: configs/ and projects/ are not installed.
SOURCE = Path(detectron2.__file__).parents[1]
ZOO = Path(detectron2.__file__).parent / "model_zoo/configs"
COCO = tuple((c["id"], c["name"], "f") for c in COCO_CATEGORIES if c["isthing"])
LVIS = tuple((c["id"], c["name"], c["frequency"]) for c in LVIS_CATEGORIES)
YAML = ("MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0", "SOLVER.IMS_PER_BATCH", "2")
SMALL = (*YAML, "INPUT.MIN_SIZE_TRAIN", "(64,)")
LOADER = "dataloader.train"
PYTHON = ("train.device=cpu", f"{LOADER}.num_workers=0", f"{LOADER}.total_batch_size=2")
POINT_REND = ("detectron2.projects.point_rend:add_pointrend_config",)


def config_file(path: str) -> Path:
    for folder in (SOURCE, SOURCE / "configs", ZOO):
        if (folder / path).is_file():
            return folder / path
    pytest.skip(f"{path} is in no checkout beside the installed Detectron2")


@pytest.fixture()
def datasets(catalogs, lvis_folder, tmp_path, monkeypatch):
    """Detectron2's COCO and LVIS names stand for four images each."""
    for split in ("train2017", "val2017"):
        lvis_folder(
            tmp_path / "coco" / split,
            categories=COCO,
            contents=[["zebra"], ["cup", "zebra"], ["dining table"], ["cup"]],
        )
        lvis_folder(
            tmp_path / "lvis" / split,
            categories=LVIS,
            contents=[["zebra"], ["cup", "zebra"], ["cow"], ["cup"]],
        )
        files = {kind: tmp_path / kind / split / "annotations.json" for kind in ("coco", "lvis")}
        data = json.loads(files["coco"].read_text())
        for annotation in data["annotations"]:
            annotation["iscrowd"] = 0
        files["coco"].write_text(json.dumps(data))
        short = split.removesuffix("2017")
        for name in (f"coco_2017_{short}", f"lvis_v1_{short}"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
        register_coco_instances(
            f"coco_2017_{short}",
            _get_builtin_metadata("coco"),
            str(files["coco"]),
            str(files["coco"].parent),
        )
        register_lvis_instances(
            f"lvis_v1_{short}",
            get_lvis_instances_meta("lvis_v1"),
            str(files["lvis"]),
            f"{files['lvis'].parent}/",
        )


@pytest.fixture()
def generated(lvis_folder, tmp_path):
    """A part of the classes, numbered anew, in another order; one that no detector here knows."""
    return lvis_folder(
        tmp_path / "generated",
        True,
        categories=((3, "cup", "f"), (1, "zebra", "r"), (2, "spoonbill_(anvil)", "r")),
        contents=[["zebra"], ["cup", "zebra"]],
        first_id=1_000_000,
    )


def names_seen(cfg, dataset, batches=12):
    """Image id -> the names of the objects that a few batches of the training loader hold."""
    is_yaml = isinstance(cfg, CfgNode)
    loader = Trainer.build_train_loader(cfg) if is_yaml else instantiate(cfg.dataloader.train)
    classes = MetadataCatalog.get(dataset).thing_classes
    seen = defaultdict(set)
    for _, batch in zip(range(batches), loader):
        assert len(batch) == 2
        for record in batch:
            labels = record["instances"].gt_classes.tolist()
            seen[record["image_id"]] |= {classes[label] for label in labels}
    return dict(seen), sampler_of(loader).factors


@pytest.mark.parametrize(
    "path, opts, add_config, dataset",
    [
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml", SMALL, (), "coco_2017_train"),
        ("LVISv1-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml", SMALL, (), "lvis_v1_train"),
        ("Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml", SMALL, (), "coco_2017_train"),
        ("COCO-Detection/retinanet_R_50_FPN_1x.yaml", SMALL, (), "coco_2017_train"),  # no masks
        (
            "projects/PointRend/configs/InstanceSegmentation/pointrend_rcnn_R_50_FPN_1x_coco.yaml",
            SMALL,
            POINT_REND,
            "coco_2017_train",
        ),
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.py", PYTHON, (), "coco_2017_train"),
        ("new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ.py", PYTHON, (), "coco_2017_train"),
        ("projects/ViTDet/configs/COCO/mask_rcnn_vitdet_b_100ep.py", PYTHON, (), "coco_2017_train"),
        ("projects/ViTDet/configs/LVIS/mask_rcnn_vitdet_b_100ep.py", PYTHON, (), "lvis_v1_train"),
    ],
    ids=lambda value: Path(value).stem if isinstance(value, str) else None,
)
def test_the_training_set_takes_the_synthetic_images(
    datasets, generated, tmp_path, path, opts, add_config, dataset
):
    if "ViTDet" in path and not ZOO.is_dir():
        pytest.skip("ViTDet's configs read the model zoo, which an installed Detectron2 has")
    options = dict(
        config=str(config_file(path)), opts=opts, add_config=add_config, work_dir=str(tmp_path)
    )
    cfg = build_config(TrainingOptions(**options, synthetic=str(generated)))
    seen, factors = names_seen(cfg, dataset)
    assert seen[1_000_000] == {"zebra"} and seen[1_000_001] == {"cup", "zebra"}
    assert seen[1] == {"zebra"} and set(seen) == {1, 2, 3, 4, 1_000_000, 1_000_001}
    assert factors.tolist() == [1] * 6

    cfg = build_config(TrainingOptions(**options))
    seen, factors = names_seen(cfg, dataset)
    assert set(seen) == {1, 2, 3, 4} and factors.tolist() == [1] * 4


@pytest.mark.parametrize(
    "path, opts",
    [
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml", SMALL),
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.py", PYTHON),
    ],
)
def test_lvis_names_that_are_none_of_cocos_80_are_listed(
    datasets, lvis_folder, tmp_path, path, opts
):
    folder = lvis_folder(
        tmp_path / "g",
        True,
        categories=((1, "cup", "f"), (2, "television_set", "f"), (3, "sofa", "f")),
        contents=[["cup", "sofa", "television_set"]],
    )
    with pytest.raises(InputError) as error:
        build_config(TrainingOptions(str(config_file(path)), synthetic=str(folder), opts=opts))
    assert str(error.value).endswith(
        "2 of its 3 categories fit none of the detector's 80 classes by name: 'television_set' "
        "(id 2, which is 'bicycle' there); 'sofa' (id 3, which is 'car' there)"
    )


@pytest.mark.parametrize(
    "path, message",
    [
        ("COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml", "MODEL.KEYPOINT_ON is on"),
        ("COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.py", "mapper.use_keypoint is on"),
        ("COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml", "is for coco_panoptic_seg"),
        ("COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.py", "is for coco_panoptic_seg"),
        ("COCO-Detection/fast_rcnn_R_50_FPN_1x.yaml", "MODEL.LOAD_PROPOSALS is on"),
    ],
)
def test_tasks_that_want_more_than_boxes_and_masks_are_refused(generated, path, message):
    opts = YAML if path.endswith(".yaml") else PYTHON
    with pytest.raises(InputError, match=f"{message}.* boxes and masks alone"):
        build_config(TrainingOptions(str(config_file(path)), synthetic=str(generated), opts=opts))


def test_a_lazy_config_with_a_loader_of_its_own_stays_as_it_is(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from detectron2.config import LazyCall as L\n"
        "dataloader = dict(train=L(list)(dataset=[1, 2]))\n"
        "train = dict(output_dir='out', device='cpu')\n"
    )
    cfg = build_config(TrainingOptions(str(path)))
    assert instantiate(cfg.dataloader.train.dataset) == [1, 2]
    assert build_config(TrainingOptions(str(path), no_synthetic=True)).dataloader == cfg.dataloader
