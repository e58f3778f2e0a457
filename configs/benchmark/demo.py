"""The main table on the demo preset of mini-LVIS: every arm, two detectors, three seeds."""

from mf_plugin.benchmark.config import Arm, BenchmarkConfig, Detector, Target

GENERATION = "configs/generation/minilvis_rare_mixed.py"
PUBLISHED = "configs/generation/minilvis_rare_published_48.py"
FEWER = (1, 2)  # seeds of the novel arms
ONE = (1,)  # of the other policies, which ablations.py has with two

config = BenchmarkConfig(
    title="mini-LVIS, demo preset",
    reduced=(
        "30 of mini-LVIS's categories, 560 training images, detectors trained from scratch for "
        "minutes: what two CPU cores can do. The full preset has 278."
    ),
    preset="demo",
    detectors=(
        Detector("mask-rcnn", "Mask R-CNN", "configs/mmdet/mask-rcnn_r18_fpn_minilvis-demo"),
        Detector("centernet2", "CenterNet2", "configs/mmdet/centernet2_r18_fpn_minilvis-demo"),
    ),
    arms=(
        Arm("real", "real images"),
        Arm("copy_paste", "real images, Copy-Paste", suffix="_copy-paste"),
        Arm(
            "published",
            "synthetic as published",
            synthetic=PUBLISHED,
            policy="joint",
        ),
        Arm("refined", "synthetic refined", synthetic=GENERATION, policy="joint"),
        Arm(
            "refined_real",
            "synthetic refined, policy real",
            synthetic=GENERATION,
            policy="real",
            seeds=ONE,
        ),
        Arm(
            "refined_ratio",
            "synthetic refined, policy ratio 0.2",
            synthetic=GENERATION,
            policy="ratio",
            ratio=0.2,
            seeds=ONE,
        ),
        Arm(
            "oracle",
            "as many real renderings (oracle)",
            synthetic=GENERATION,
            oracle=True,
            policy="joint",
        ),
        Arm("novel_real", "novel: no rare annotations", train="novel", seeds=FEWER),
        Arm(
            "novel_refined",
            "novel, synthetic refined",
            train="novel",
            synthetic=GENERATION,
            policy="joint",
            baseline="novel_real",
            seeds=FEWER,
        ),
    ),
    seeds=(1, 2, 3),
    split="val",
    baseline="real",
    oracle="oracle",
    targets=tuple(
        target
        for detector, gain, published in (
            ("mask-rcnn", 10.0, "published on LVIS: +5.6; largest reported: +9.0"),
            ("centernet2", 6.0, "published on LVIS: +3.1"),
        )
        for target in (
            Target(detector, "refined", "APr", 60, aim="share"),
            Target(detector, "refined", "APr", gain, source=published),
            Target(detector, "refined", "AP", 1.4),
            Target(detector, "refined", "APf", -0.3),
            Target(detector, "refined", "APr", 0.0, over="copy_paste"),
            Target(detector, "refined", "APr", 0.0, over="published"),
        )
    ),
)
