"""ImgSyn on mini-LVIS with the bundled tiny Mask2Img: new images for the masks of real ones.

Before it: python tools/build_minilvis.py --preset demo --out work_dirs/demo/data
"""

from pathlib import Path

from seggen.seggen_common import MINILVIS_DEMO

import mf_plugin
from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.synthesis import SegGenConfig

config = SegGenConfig(
    system="imgsyn",
    source=MINILVIS_DEMO,
    mask2img=Path(mf_plugin.__file__).parent / "assets/tiny_seggen/mask2img",
    size=(192, 192),  # of 160 x 160; Mask2Img was trained on parts at 0.6 to 1.5 of their size
    kind="instance",
    captions="composed",
    main_categories=("r",),  # source images that hold a rare category
    images_per_category=12,  # x 10 rare categories of the demo = 120 canvases, as minilvis_rare.py
    zoom=1.25,  # parts of the images, mirrored too
    mirror=True,
    mask2img_steps=25,
    mask2img_guidance=4.0,
    scheduler="DDIMScheduler",
    gates=GateConfig(min_pixels=43),  # 30 in the images, from which on mini-LVIS annotates
    reject="erase",  # what is too small is not painted, so that it is no unlabelled object
    group_size=8,
    threads=1,  # the benchmark paints two sets at a time
    seed=0,
)
