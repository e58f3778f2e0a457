"""The keys that a yaml config of Detectron2 may use on top of Detectron2's own.

A training script of your own needs two more lines for them, the second and the last:

    cfg = get_cfg()
    add_mosaicfusion_config(cfg)
    cfg.merge_from_file("configs/detectron2/X.yaml")
    register_from_config(cfg)
"""

from __future__ import annotations

from typing import Any


def add_mosaicfusion_config(cfg: Any) -> None:
    """Add our keys, with their defaults, to detectron2's ``cfg``; keys that it has stay."""
    # Synthetic datasets as (name, folder) or (name, folder, generation config) each; the names
    # then go into DATASETS.TRAIN. Detectron2 has to know a name before it loads it.
    _add(cfg, "MOSAICFUSION.DATASETS", ())
    # Real LVIS-format folders of any vocabulary as (name, folder), folders below DATA_ROOT.
    _add(cfg, "MOSAICFUSION.REAL_DATASETS", ())
    _add(cfg, "MOSAICFUSION.DATA_ROOT", "")
    # The command that builds them, for the error that says they are missing.
    _add(cfg, "MOSAICFUSION.DATA_COMMAND", "")
    # How synthetic images are sampled (mf_plugin.data.sampling.repeat_factors): joint, real, ratio,
    # replace or synthetic; RATIO is their share of an epoch under ratio, the probability that a
    # real image gives way under replace; a number for all folders, or a list with one for each.
    _add(cfg, "MOSAICFUSION.POLICY", "joint")
    _add(cfg, "MOSAICFUSION.RATIO", None)

    # SGD, or ADAMW; Detectron2's own builder for yaml configs has SGD alone. CLIP_GRADIENTS takes
    # the further type "full_model" with both: one norm over all gradients.
    _add(cfg, "SOLVER.OPTIMIZER", "SGD")

    # Swin for MODEL.BACKBONE.NAME build_p67_swin_fpn_backbone; the defaults are Swin-B's.
    _add(cfg, "MODEL.SWIN.EMBED_DIM", 128)
    _add(cfg, "MODEL.SWIN.DEPTHS", [2, 2, 18, 2])
    _add(cfg, "MODEL.SWIN.NUM_HEADS", [4, 8, 16, 32])
    _add(cfg, "MODEL.SWIN.WINDOW_SIZE", 7)
    _add(cfg, "MODEL.SWIN.DROP_PATH_RATE", 0.3)
    _add(cfg, "MODEL.SWIN.USE_CHECKPOINT", False)

    # Detectron2's weighted samplers read keys that its own defaults lack.
    _add(cfg, "DATASETS.TRAIN_REPEAT_FACTOR", [])
    _add(cfg, "DATALOADER.RANDOM_SUBSET_RATIO", 1.0)


def _add(cfg: Any, path: str, default: Any) -> None:
    *parents, key = path.split(".")
    node = cfg
    for parent in parents:
        if parent not in node:
            node[parent] = type(cfg)()
        node = node[parent]
    if key not in node:
        node[key] = default
