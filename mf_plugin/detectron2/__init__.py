"""The Detectron2 adapter: importing it registers the backbones that our yaml configs name.

Without Detectron2 the package itself can be imported; each of its names then says how to install
it. The modules `config_keys`, `records` and `samplers` need no Detectron2.
"""

from __future__ import annotations

from typing import Any

from mf_plugin.detectron2.install import is_installed, require_detectron2

__all__ = [
    "RareAPEvaluator",
    "RepeatFactorSampler",
    "Trainer",
    "add_mosaicfusion_config",
    "build_train_loader",
    "register",
    "register_from_config",
    "with_synthetic",
    "without_synthetic",
]

if is_installed():
    from mf_plugin.detectron2 import backbones as _backbones  # noqa: F401  registers
    from mf_plugin.detectron2.catalog import register
    from mf_plugin.detectron2.config_keys import add_mosaicfusion_config
    from mf_plugin.detectron2.evaluator import RareAPEvaluator
    from mf_plugin.detectron2.loaders import build_train_loader
    from mf_plugin.detectron2.samplers import RepeatFactorSampler
    from mf_plugin.detectron2.synthetic import (
        register_from_config,
        with_synthetic,
        without_synthetic,
    )
    from mf_plugin.detectron2.trainer import Trainer
else:

    def __getattr__(name: str) -> Any:
        if name in __all__:
            require_detectron2()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
