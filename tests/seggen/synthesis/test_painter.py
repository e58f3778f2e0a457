"""What becomes of a painted colour map that is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from mf_plugin.seggen.colormap import encode
from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.palette import Palette


def block(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((32, 32), bool)
    mask[top : top + height, left : left + width] = True
    return mask


CAT, BOW, SPECK = block(2, 2, 14, 14), block(18, 2, 12, 28), block(2, 22, 7, 7)


@dataclass(frozen=True)
class KnownMaps:
    """Stands for a Text2Mask that paints one map, in exact colours."""

    colormap: np.ndarray
    reading_palette: Palette
    reach: int = 1

    def __call__(self, captions, **_: object) -> np.ndarray:
        return np.stack([self.colormap] * len(captions))


@pytest.fixture
def paint(make_config, models, real_images):
    """Paint one canvas of "a cat on a bow" (image 2) whose colour map shows other things too."""

    def paint(reject: str, **gates: object):
        config = make_config(
            "masksyn",
            text2mask=models / "text2mask",
            mask2img=models / "mask2img",
            captions="coco",
            captions_file=real_images / "captions.json",
            main_categories=("bow_(weapon)",),
            num_images=1,
            reject=reject,
            gates=GateConfig(**{"min_pixels": 60, **gates}),
        )
        plan = config.make_plan()
        painter = plan.load_painter("cpu")
        drawn = [(5, CAT), (11, BOW), (5, SPECK)]
        colormap = encode(drawn, (32, 32), painter._mask2img.palette, "instance")
        painter._text2mask = KnownMaps(colormap, painter._mask2img.palette)
        group = plan.groups[0]
        (painted,) = painter.paint(group)
        (result,) = painter.assembler(group, (painted,))
        return painted, result, colormap

    return paint


def test_what_the_caption_does_not_name_is_rejected_and_painted(paint):
    painted, result, colormap = paint("region")
    found = {(one.category_id, one.reason) for one in painted.judged}
    assert found == {(5, ""), (5, "too_small"), (11, "not_in_caption"), (9, "missing")}
    assert (painted.colormap == colormap).all()
    kept = [obj for obj in result.objects if not obj.reason]
    assert len(kept) == 1 and (kept[0].mask == CAT).all() and kept[0].measures == {"confidence": 1}
    assert kept[0].prompt == "a cat on a bow" and result.planned["category_ids"][0] == 5
    pictures = {obj.reason: obj.thumbnail for obj in result.objects}
    assert pictures[""] is None and pictures["missing"] is None
    assert pictures["too_small"].shape == (13, 14, 3)
    assert pictures["not_in_caption"].shape == (18, 32, 3)


def test_what_is_rejected_is_erased(paint):
    painted, _, colormap = paint("erase")
    background = colormap[31, 31]
    assert (painted.colormap[CAT] == colormap[CAT]).all()
    assert (painted.colormap[BOW | SPECK] == background).all()


def test_one_rejected_segment_drops_the_canvas(paint):
    painted, result, _ = paint("image")
    assert painted.image is None and result.image is None
    assert all(obj.reason for obj in result.objects)


def test_any_painted_segment_where_captions_do_not_say_all(paint):
    painted, result, _ = paint("region", named=False)
    kept = {one.category_id for one in painted.judged if not one.reason}
    assert kept == {5, 11} and result.image.shape == (32, 32, 3)
