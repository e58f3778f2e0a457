"""Canvases of 2 x 2 and of 3 x 3, as the main table's refined set has them: as many objects."""

import dataclasses

from default import config as parent

config = dataclasses.replace(
    parent,
    regions=("2x2", "3x3"),
    jitter=0.4375,  # of three regions in a row, none becomes too narrow
    num_images=74,  # 6.5 objects each on average
)
