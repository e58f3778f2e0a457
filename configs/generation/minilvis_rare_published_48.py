"""As published, with as many objects as minilvis_rare_mixed.py: for the benchmark."""

import dataclasses

from minilvis_rare_published import config as parent

config = dataclasses.replace(parent, images_per_category=48)  # 480 canvases, 1,920 objects
