"""Every mask that is not empty is kept."""

import dataclasses

from default import config as parent

from mf_plugin.generation.filters import FilterConfig

config = dataclasses.replace(
    parent, filters=FilterConfig(min_area=0.0, max_area=1.0, components=1000)
)
