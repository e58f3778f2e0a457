"""MosaicFusion on all of mini-LVIS: its 35 rare categories among 278.

The bundled model knows the demo's 30 categories alone. Train one that knows all of them first:

    python tools/train_tiny_sd.py --config configs/tiny_sd/all.py --work-dir work_dirs/tiny_sd_all --out work_dirs/tiny_sd_all/pipeline
"""  # noqa: E501

import dataclasses

from minilvis_rare_mixed import config as demo

config = dataclasses.replace(
    demo,
    vocabulary="minilvis:all",
    model="work_dirs/tiny_sd_all/pipeline",
    images_per_category=100,  # the paper's number of canvases a category
)
