"""Table 2g: attention of the fine maps alone, 16 x 16 for a region of 64."""

import dataclasses

from default import config as parent

config = dataclasses.replace(parent, mask=dataclasses.replace(parent.mask, scales=(1,)))
