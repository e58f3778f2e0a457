"""Table 2e, the other way: as many canvases, led by all groups in turn."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, main_categories=("r", "c", "f"), num_images=120)
