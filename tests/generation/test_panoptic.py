from __future__ import annotations

import numpy as np

from mf_plugin.generation.panoptic import decode_panoptic, encode_panoptic


def test_ids_need_three_bytes_at_most_and_come_back():
    masks = []
    for place in range(300):
        mask = np.zeros((20, 20), bool)
        mask.flat[place] = True
        masks.append((7, mask))
    pixels, infos = encode_panoptic(masks, (20, 20))
    assert pixels.dtype == np.uint8 and pixels[0, 0].tolist() == [1, 0, 0]
    assert pixels[14, 19].tolist() == [300 - 256, 1, 0] and pixels[15, 0].tolist() == [0, 0, 0]
    assert decode_panoptic(pixels).ravel()[:301].tolist() == [*range(1, 301), 0]
    assert infos[21] == {"id": 22, "category_id": 7, "area": 1, "bbox": [1, 1, 1, 1], "iscrowd": 0}
