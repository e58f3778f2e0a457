"""Table 2a: one region a canvas."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, regions=(1,))
