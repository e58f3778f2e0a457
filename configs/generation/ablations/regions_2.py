"""Table 2a: two regions a canvas."""

import dataclasses

from minilvis_rare import config as parent

config = dataclasses.replace(parent, regions=(2,))
