"""Table 2b: lines between regions do not move."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, jitter=0.5)
