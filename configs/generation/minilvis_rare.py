"""MosaicFusion on mini-LVIS with the bundled tiny Stable Diffusion: the demo's rare categories."""

from pathlib import Path

import mf_plugin
from mf_plugin.generation.config import GenerationConfig
from mf_plugin.generation.filters import FilterConfig
from mf_plugin.mosaic.attention import AttentionConfig
from mf_plugin.mosaic.bilateral import BilateralConfig
from mf_plugin.mosaic.masks import MaskConfig

config = GenerationConfig(
    vocabulary="minilvis:demo",
    main_categories=("r",),
    other_categories=("r", "c", "f"),  # paper: APr 15.2 against 14.2 with "r" alone (Table 2e)
    images_per_category=12,  # x 10 rare categories of the demo = 120 canvases, 480 objects
    regions=(4,),  # paper's best (Table 2a)
    region_size=(64, 64),  # on average; the size that the model was trained on
    jitter=0.375,  # paper: the centre lies in 0.375 to 0.625 of the canvas (Table 2b)
    overlap=(16, 16),  # paper: 48 / 384 and 64 / 512, that is 1/8 of a region; 2 x multiple here
    multiple=8,  # VAE factor 4 x one halving in the U-Net
    model=Path(mf_plugin.__file__).parent / "assets/tiny_sd",
    scheduler="DDIMScheduler",
    steps=25,
    guidance=4.0,  # the prototype's; 7.5 is for web-scale models
    # the captions and words that the bundled model was trained on (configs/tiny_sd/demo_styles.py)
    template="a photo of a single {name} on a {background} background, {style}",
    backgrounds=(
        "red",
        "yellow",
        "green",
        "blue",
        "purple",
        "brown",
        "gray",
        "white",
        "black",
        "gradient",
        "sky",
    ),
    styles=("glossy", "flat", "soft", "bold", "paper"),
    attention=AttentionConfig(tokens="next"),  # of "kimono" and "ring" it attends to the "on"
    mask=MaskConfig(
        method="refined",
        scales=(1, 2),  # maps of 16 x 16 and 8 x 8 for a region of 64
        # The paper's cell of 16 pixels is for regions of 384 x 512; it scales with the side.
        bilateral=BilateralConfig(sigma_spatial=2.3),  # 16 x 64 / sqrt(384 x 512)
    ),
    filters=FilterConfig(min_area=0.05, max_area=0.95),  # paper's shares, of the real region
    reject="region",
    group_size=8,
    threads=2,
    jpeg_quality=95,
    seed=0,
)
