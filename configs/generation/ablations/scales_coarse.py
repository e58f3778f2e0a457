"""Table 2g: attention of the coarse maps alone, 8 x 8 for a region of 64."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, mask=dataclasses.replace(parent.mask, scales=(2,)))
