"""More canvases than the demo's, of two sizes: for the benchmark.

A canvas of 3x3 regions is scaled to the detector's size as one of 2x2 is, so that its objects are
smaller: together they cover the sizes of real objects better, and an image of nine teaches more.
"""

import dataclasses

from minilvis_rare import config as parent

config = dataclasses.replace(
    parent,
    regions=("2x2", "3x3"),
    # regions of 56 to 88 px, as in training; 0.375 makes 48 to 112 of three in a row
    jitter=0.4375,
    images_per_category=30,  # x 10 rare categories = 300 canvases, 1,950 objects
)
