"""Tiny Stable Diffusion for the categories of the demo preset; a size for two CPU cores."""

from mf_plugin.mosaic.tiny_sd.config import TinySDConfig

config = TinySDConfig(
    preset="demo",
    seed=0,
    # a mosaic of 128 x 128 with jitter 0.375 and overlap 16 has regions of 56 to 88 px a side
    regions=(
        ((64, 64), 0.40),
        ((56, 72), 0.15),
        ((72, 56), 0.15),
        ((64, 80), 0.10),
        ((80, 64), 0.10),
        ((56, 56), 0.05),
        ((80, 80), 0.05),
    ),
    # plain ones: what little capacity there is goes to the objects
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
    captions=(
        ("a photo of a single {name} on a {background} background", 0.75),
        ("a photo of a single {name}", 0.10),
        ("a photo of a single {name}, {definition}", 0.10),
        ("{name}", 0.05),
    ),
)
