"""The real images over whose masks ImgSyn painted: what a judge can read at most.

An ImgSyn folder's manifest says which part of which real image lent its masks (`seggen.views`).
With that part in the painted image's place, labels and masks are as good as they were, and what a
judge misses is the judge's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mf_plugin.arrays import Pixels
from mf_plugin.errors import InputError, shown
from mf_plugin.jsonfile import MOST_LEVELS, parse_json
from mf_plugin.lvis.paths import image_file
from mf_plugin.seggen.views import View

MANIFEST = "manifest.jsonl"


class RealView(NamedTuple):
    """The part of a real image that a painted one stands for."""

    file_name: str
    view: View


def read_views(folder: str | Path) -> dict[str, RealView]:
    """file_name of each painted image -> the part of a real one.

    Raises:
        InputError: no manifest, a damaged one, or one of a folder that was not painted over the
            masks of real images.
    """
    path = Path(folder) / MANIFEST
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    found = {}
    for number, text in enumerate(lines, start=1):
        name = f"{path} line {number}"
        line = parse_json(text, name, levels=MOST_LEVELS)
        if not isinstance(line, Mapping):
            raise InputError(f"{name} is {shown(line)}; expected an object")
        if line.get("file_name") is None:
            continue  # a canvas that became no image
        try:
            found[line["file_name"]] = _read_view(line)
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"{name} names no part of a real image: expected the folder of an ImgSyn run"
            ) from None
    return found


def _read_view(line: Mapping[str, Any]) -> RealView:
    layout, view = line["layout"], line["view"]
    height, width = (int(layout[name]) for name in ("height", "width"))
    scaled, corner = ((int(first), int(last)) for first, last in (view["scaled"], view["corner"]))
    sides = zip((height, width), corner, scaled, strict=True)
    if not all(side > 0 and start >= 0 and start + side <= end for side, start, end in sides):
        raise ValueError("the part lies outside of the image")
    return RealView(
        str(line["source_file_name"]), View((height, width), scaled, corner, bool(view["mirrored"]))
    )


def cut_real(real: RealView, images: str | Path) -> Pixels:
    """uint8[h, w, 3]: the part, as large as the painted image.

    Args:
        images: folder of the real images.

    Raises:
        InputError: the image is missing or cannot be read.
    """
    try:
        file = image_file(images, {"id": real.file_name, "coco_url": real.file_name})
        pixels = np.asarray(Image.open(file).convert("RGB"))
    except OSError as error:
        raise InputError(f"image {real.file_name} of {images} cannot be read: {error}") from error
    return real.view.image(pixels)
