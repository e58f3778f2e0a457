"""The MMDetection adapter: importing it registers what configs name by ``type=``.

In a config: ``custom_imports = dict(imports=["mf_plugin.mmdet"], allow_failed_imports=False)``.
"""

from __future__ import annotations

from mf_plugin.extras import require

for _module in ("torch", "torchvision", "mmengine", "mmcv"):
    require(_module, "mmdet")

from mf_plugin.mmdet.ops import install_ops  # noqa: E402

install_ops()  # before anything imports mmcv.ops
require("mmdet", "mmdet")

from mf_plugin.mmdet import hooks as _hooks  # noqa: E402, F401  registers
from mf_plugin.mmdet import metrics as _metrics  # noqa: E402, F401  registers
from mf_plugin.mmdet.datasets import (  # noqa: E402
    LVISConcatDataset,
    LVISJsonDataset,
    SyntheticLVISDataset,
)
from mf_plugin.mmdet.samplers import RepeatFactorSampler  # noqa: E402
from mf_plugin.mmdet.synthetic import with_synthetic, without_synthetic  # noqa: E402

__all__ = [
    "LVISConcatDataset",
    "LVISJsonDataset",
    "RepeatFactorSampler",
    "SyntheticLVISDataset",
    "install_ops",
    "with_synthetic",
    "without_synthetic",
]
