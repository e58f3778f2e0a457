"""Table 2c: regions share twice as many pixels."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, overlap=(32, 32))
