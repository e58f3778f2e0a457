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

from mf_plugin.mmdet import centernet2_loss as _centernet2_loss  # noqa: E402, F401  registers
from mf_plugin.mmdet import centernet2_roi as _centernet2_roi  # noqa: E402, F401  registers
from mf_plugin.mmdet import centernet2_rpn as _centernet2_rpn  # noqa: E402, F401  registers
from mf_plugin.mmdet import federated as _federated  # noqa: E402, F401  registers
from mf_plugin.mmdet import federated_counts as _federated_counts  # noqa: E402, F401  registers
from mf_plugin.mmdet import hooks as _hooks  # noqa: E402, F401  registers
from mf_plugin.mmdet import maps as _maps  # noqa: E402, F401  registers
from mf_plugin.mmdet import metrics as _metrics  # noqa: E402, F401  registers
from mf_plugin.mmdet import panoptic as _panoptic  # noqa: E402, F401  registers
from mf_plugin.mmdet import semantic as _semantic  # noqa: E402, F401  registers
from mf_plugin.mmdet.datasets import LVISJsonDataset, SyntheticLVISDataset  # noqa: E402
from mf_plugin.mmdet.samplers import RepeatFactorSampler  # noqa: E402
from mf_plugin.mmdet.synthetic import with_synthetic, without_synthetic  # noqa: E402
from mf_plugin.mmdet.union import LVISConcatDataset  # noqa: E402

__all__ = [
    "LVISConcatDataset",
    "LVISJsonDataset",
    "RepeatFactorSampler",
    "SyntheticLVISDataset",
    "install_ops",
    "with_synthetic",
    "without_synthetic",
]
