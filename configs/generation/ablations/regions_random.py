"""Table 2a: one, two or four regions a canvas, at random."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, regions=(1, 2, 4))
