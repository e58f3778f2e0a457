"""The bundled Mask2Img, trained further: for the inside of objects, whose colours it has and whose
parts it lacks. Not bundled: it is no more faithful (docs/seggen.md, "Faithfulness").
"""

from pathlib import Path

from seggen_common import TINY_MASK2IMG, TINY_REGIONS

import mf_plugin
from mf_plugin.seggen.training.config import SegGenTrainConfig

config = SegGenTrainConfig(
    **TINY_MASK2IMG,
    **{**TINY_REGIONS, "time_shift": 1.0},  # parts of objects are decided at middling noise
    steps=5_000,
    seed=1,  # other parts of the images than before
    start=Path(mf_plugin.__file__).parent / "assets/tiny_seggen/mask2img",
)
