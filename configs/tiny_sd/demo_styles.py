"""Goes on from demo.py: captions that name the style, and longer training of every part.

A category of mini-LVIS has five guises. A caption that does not say which one leaves the model to
guess between them, and guidance then paints a mixture.
"""

import dataclasses

from mf_plugin.mosaic.tiny_sd.config import load_config

first = load_config(__file__.replace("demo_styles.py", "demo.py"))
config = dataclasses.replace(
    first,
    seed=1,
    start="work_dirs/tiny_sd/pipeline",  # what demo.py leaves
    images=32_000,
    styles=("glossy", "flat", "soft", "bold", "paper"),  # of TRAIN_STYLES, in their order
    captions=(
        ("a photo of a single {name} on a {background} background, {style}", 0.60),
        ("a photo of a single {name} on a {background} background", 0.20),
        ("a photo of a single {name}", 0.08),
        ("a photo of a single {name}, {definition}", 0.08),
        ("{name}", 0.04),
    ),
    vae_cycles=((5_000, 0.5),),
    unet_cycles=((5_600, 1.0),),
    decoder_cycles=((1_500, 0.5),),
)
