from __future__ import annotations

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.mosaic.sam import SamRefineConfig, SamRefiner, mask_box

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tiny_sam_folder):
    return tiny_sam_folder


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def masks():
    """Three masks on 40 x 56; the last is empty."""
    masks = [np.zeros((40, 56), dtype=bool) for _ in range(3)]
    masks[0][5:20, 10:30] = True
    masks[0][5, 10] = False
    masks[1][22:39, 31:56] = True
    return masks


def proposals(folder, image, box):
    """What SAM says of one box: masks bool[3, H, W] and their scores."""
    model = transformers.SamModel.from_pretrained(folder)
    processor = transformers.SamProcessor.from_pretrained(folder)
    inputs = processor(images=image, input_boxes=[[box]], return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs)
    sizes = inputs["original_sizes"], inputs["reshaped_input_sizes"]
    masks = processor.image_processor.post_process_masks(output.pred_masks, *sizes)
    return masks[0][0].numpy(), output.iou_scores[0, 0].numpy()


@pytest.mark.parametrize("choose", ["overlap", "score"])
def test_refine_takes_one_of_sams_proposals_for_each_box(folder, image, masks, choose):
    refined = SamRefiner(folder, choose=choose).refine(image, masks)
    assert [mask.shape for mask in refined] == [(40, 56)] * 3
    assert all(mask.dtype == bool for mask in refined)
    assert not refined[2].any()
    for mask, result, box in zip(masks, refined, [[10, 5, 30, 20], [31, 22, 56, 39]]):
        candidates, scores = proposals(folder, image, box)
        if choose == "overlap":
            scores = [(c & mask).sum() / (c | mask).sum() for c in candidates]
        assert len(set(scores)) == 3
        assert np.array_equal(result, candidates[np.argmax(scores)])
    assert not np.array_equal(refined[0], refined[1])


def test_refine_is_deterministic_and_needs_no_mask(folder, image, masks):
    refiner = SamRefiner(folder)
    first, second = refiner.refine(image, masks), refiner.refine(image, masks)
    assert all(np.array_equal(a, b) for a, b in zip(first, second))
    assert refiner.refine(image, []) == []
    assert not refiner.refine(image, masks[2:])[0].any()


def test_narrow_image(folder):
    """Three rows are not three channels."""
    image = np.zeros((3, 9, 3), dtype=np.uint8)
    assert SamRefiner(folder).refine(image, [np.ones((3, 9), dtype=bool)])[0].shape == (3, 9)


def test_mask_box():
    mask = np.zeros((6, 8), dtype=bool)
    mask[2, 3] = True
    assert mask_box(mask) == [3, 2, 4, 3]
    mask[4, 7] = True
    assert mask_box(mask) == [3, 2, 8, 5]


def test_bad_input_is_named(folder, image, tokenizer, tmp_path):
    with pytest.raises(InputError, match=r"mask 1 is \(40, 55\); expected \(40, 56\)"):
        SamRefiner(folder).refine(image, [np.ones((40, 56), bool), np.ones((40, 55), bool)])
    with pytest.raises(InputError, match="sam choose is 'best'; expected one of"):
        SamRefineConfig("a/b", choose="best")
    with pytest.raises(InputError, match="Sam model '.*none': no such folder"):
        SamRefiner(tmp_path / "none")
    transformers.CLIPConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is of type clip; expected sam"):
        SamRefiner(tmp_path)
