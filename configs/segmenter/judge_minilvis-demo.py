"""The segmentation judge: real renderings in every style, whole scenes and parts of scenes.

Before it, the data of the detector judge and of the judge of parts, see tools/judge_detector.py.
"""

from mf_plugin.evaluation.segmenter import SegmenterConfig

config = SegmenterConfig(
    datasets=("work_dirs/judge/data/train", "work_dirs/judge_parts/data/train"),
    side=192,
    crop=160,
    scales=(0.84, 1.3),
    iterations=3000,  # x 16 images = 6 epochs of the 8,000
    batch_size=16,
    learning_rate=2e-3,
    weight_decay=0.05,
    widths=(32, 64, 128, 256),
    head_width=64,
    checkpoint_every=500,
)
