"""Table 2a: two regions a canvas."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, regions=(2,))
