"""All of mini-LVIS as published: layout, masks, subject token and rejection of the paper."""

import dataclasses

from minilvis_all_rare import config as ours
from minilvis_rare_published import config as published

config = dataclasses.replace(
    published,
    vocabulary=ours.vocabulary,
    model=ours.model,
    images_per_category=100,
)
