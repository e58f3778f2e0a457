"""Rebuilds the bundled mini-LVIS sprites from the reviewed table and the npm icon sets.

Each icon of `categories.tsv` is rendered by resvg and cropped to its alpha box, at the scale where
the box's longest side is 96 px (95 where none gives 96), and packed as lossless WebP into one
archive per style. The archives are the same, byte for byte, for the same packages and Pillow.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mf_plugin import cli
from mf_plugin.errors import InputError

logger = logging.getLogger(__name__)

LONGEST_SIDE = 96
OVERSAMPLING = 512  # px of the first rendering, which only measures the alpha box

PACKAGES = {
    "@iconify-json/fluent-emoji": "1.2.7",
    "@iconify-json/fluent-emoji-flat": "1.2.6",
    "@iconify-json/twemoji": "1.2.5",
    "@iconify-json/emojione": "1.2.3",
    "@iconify-json/fxemoji": "1.2.2",
    "@iconify-json/noto-v1": "1.2.5",
    "@iconify-json/noto": "1.2.9",
    "@resvg/resvg-js": "2.6.2",
}
STYLES = tuple(p.split("/")[1] for p in PACKAGES if p.startswith("@iconify-json/"))
# Shapes beyond the view box: resvg panics at some of them where the document ends with the box. (At
# filters of fluent-emoji it panics where it does not.)
STYLES_WITH_MARGIN = ("noto-v1", "noto")

# Reads [{"svg", "margin", "out"}] from the file named first and renders each at the scale where the
# box of all pixels with alpha > 0 has the longest side wanted; a first, large rendering gives that
# scale. A margin of 1 says that the icon is the middle ninth of the document (see icon_svg).
RENDER_JS = """
const fs = require('fs');
const { Resvg } = require('@resvg/resvg-js');
const jobsFile = process.argv[1];
const [wanted, probe] = process.argv.slice(2).map(Number);
const longestSide = ({ width, height, pixels }) => {
  let [x0, y0, x1, y1] = [width, height, -1, -1];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++)
    if (pixels[4 * (y * width + x) + 3] > 0) {
      x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y);
    }
  return Math.max(x1 - x0, y1 - y0) + 1;
};
for (const { svg, margin, out } of JSON.parse(fs.readFileSync(jobsFile, 'utf8'))) {
  const render = (width) => new Resvg(svg, {
    fitTo: { mode: 'width', value: margin ? 3 * width : width },
    ...(margin && { crop: { left: width, top: width, right: 2 * width, bottom: 2 * width } }),
    font: { loadSystemFonts: false },
  }).render();
  let width = Math.round(probe * wanted / longestSide(render(probe)));
  let image = render(width);
  while (longestSide(image) > wanted) image = render(--width);
  while (longestSide(image) < wanted) image = render(++width);
  if (longestSide(image) > wanted) image = render(--width);
  fs.writeFileSync(out, image.asPng());
}
"""


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of the reviewed table, column name to text."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def check_packages(node_modules: Path) -> None:
    """Raises InputError where a package is absent or has another version than the pinned one."""
    for package, version in PACKAGES.items():
        manifest = node_modules / package / "package.json"
        if not manifest.is_file():
            raise InputError(f"{manifest} is missing: npm install {package}@{version}")
        found = json.loads(manifest.read_text(encoding="utf-8"))["version"]
        if found != version:
            raise InputError(f"{package} is version {found}, expected {version}")


def icon_svg(icons: dict, name: str, margin: int = 0) -> str:
    """A standalone SVG document of one icon of an iconify set; aliases are followed.

    With a margin of 1 the icon's square is the middle ninth of the document.
    """
    entry, size = name, {}
    while entry not in icons["icons"]:
        alias = icons.get("aliases", {}).get(entry)
        if alias is None:
            raise InputError(f"{icons['prefix']} has no icon {name!r}")
        if {"rotate", "hFlip", "vFlip"} & set(alias):
            raise InputError(f"{icons['prefix']}: {name!r} is a turned alias: not supported")
        entry = alias["parent"]
    icon = icons["icons"][entry]
    for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16)):
        size[key] = icon.get(key, icons.get(key, default))
    if margin:
        side = max(size["width"], size["height"])
        size = {"left": size["left"] - side, "top": size["top"] - side}
        size |= {"width": 3 * side, "height": 3 * side}
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">'.format(**size)
        + f"{icon['body']}</svg>"
    )


def render_icons(icons: dict, names: dict[str, Path], node_modules: Path, folder: Path) -> None:
    """Renders icons, name -> PNG file, in one node process."""
    margin = int(icons["prefix"] in STYLES_WITH_MARGIN)
    jobs = [
        {"svg": icon_svg(icons, name, margin), "margin": margin, "out": str(out)}
        for name, out in names.items()
    ]
    jobs_file = folder / "jobs.json"
    jobs_file.write_text(json.dumps(jobs), encoding="utf-8")
    # node resolves packages from its working directory upwards
    subprocess.run(
        ["node", "-e", RENDER_JS, str(jobs_file), str(LONGEST_SIDE), str(OVERSAMPLING)],
        cwd=node_modules.parent,
        check=True,
    )


def crop_to_alpha(rgba: np.ndarray, name: str) -> np.ndarray:
    """uint8[H, W, 4] -> uint8[h, w, 4], the smallest box with all pixels of alpha > 0.

    Colour under alpha 0 is set to 0, so that equal pictures are equal bytes.

    Args:
        rgba: a rendered icon.
        name: of the icon, for the error.

    Raises:
        InputError: no pixel has alpha > 0.
    """
    ys, xs = np.nonzero(rgba[..., 3])
    if not len(ys):
        raise InputError(f"{name} has no visible pixel: expected one of alpha > 0 at least")
    out = rgba[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].copy()
    out[out[..., 3] == 0] = 0
    return out


def encode_webp(rgba: np.ndarray) -> bytes:
    """Lossless WebP of uint8[h, w, 4], exact also under alpha 0."""
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "WEBP", lossless=True, quality=100, method=6, exact=True)
    return buffer.getvalue()


def write_archive(path: Path, files: dict[str, bytes]) -> None:
    """A stored zip, names sorted, timestamps fixed; written whole or not at all."""
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, files[name])
    os.replace(partial, path)


def build_style(style: str, rows: list[dict[str, str]], node_modules: Path, out: Path) -> int:
    """Renders and packs one style; returns the size of its archive in bytes."""
    icons = json.loads(
        (node_modules / "@iconify-json" / style / "icons.json").read_text(encoding="utf-8")
    )
    files, seen = {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for icon, count in Counter(row[style] for row in rows if row[style]).items():
            if count > 1:
                raise InputError(f"{style}: {count} categories share the icon {icon!r}")
        pngs = {row[style]: folder / f"{row['id']}.png" for row in rows if row[style]}
        render_icons(icons, pngs, node_modules, folder)
        for icon, png in pngs.items():
            rendered = np.asarray(Image.open(png).convert("RGBA"))
            rgba = crop_to_alpha(rendered, f"{style}: icon {icon!r}")
            digest = hashlib.sha256(rgba.tobytes() + bytes(str(rgba.shape), "ascii")).hexdigest()
            if digest in seen:
                raise InputError(f"{style}: {seen[digest]} and {png.stem} share a picture")
            seen[digest] = png.stem
            files[f"{png.stem}.webp"] = encode_webp(rgba)
    write_archive(out / f"{style}.zip", files)
    return (out / f"{style}.zip").stat().st_size


def main() -> None:
    assets = Path(__file__).resolve().parents[1] / "mf_plugin" / "assets" / "minilvis"
    parser = argparse.ArgumentParser(
        description="Rebuild mini-LVIS's bundled sprites from npm icon sets and a reviewed table.",
        epilog="Needs node and: npm install --prefix DIR "
        + " ".join(f"{package}@{version}" for package, version in PACKAGES.items())
        + "   then: --packages DIR/node_modules",
    )
    parser.add_argument("--packages", type=Path, required=True, help="the node_modules folder")
    parser.add_argument("--table", type=Path, default=assets / "categories.tsv")
    parser.add_argument("--out", type=Path, default=assets / "sprites", help="for the archives")
    parser.add_argument("--styles", nargs="+", choices=STYLES, default=STYLES)
    args = parser.parse_args()

    if not args.table.is_file():
        raise InputError(f"{args.table} is missing: expected the reviewed table")
    check_packages(args.packages)
    rows = read_table(args.table)
    args.out.mkdir(parents=True, exist_ok=True)
    for style in tqdm(args.styles, desc="styles"):
        size = build_style(style, rows, args.packages.resolve(), args.out)
        logger.info("%s: %.2f MB", style, size / 1e6)


if __name__ == "__main__":
    sys.exit(cli.run(main))
