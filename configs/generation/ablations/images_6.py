"""Table 2f: half as many images of a category."""

import dataclasses

from minilvis_rare import config as parent

config = dataclasses.replace(parent, images_per_category=6)
