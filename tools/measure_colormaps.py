"""What an autoencoder leaves of a dataset's masks: encode -> VAE -> decode.

    python tools/measure_colormaps.py --dataset work_dirs/demo/data/train \\
        --vae mf_plugin/assets/tiny_sd
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from mf_plugin import cli
from mf_plugin.evaluation.colormap_quality import deal_out, measure_round_trip, read_segments
from mf_plugin.evaluation.valid_instances import load_dataset
from mf_plugin.lvis.io import write_json_atomic
from mf_plugin.seggen.calibration import (
    calibrate_palette,
    load_autoencoder,
    reconstruct_with,
)
from mf_plugin.seggen.colormap import REACH
from mf_plugin.seggen.palette import MIN_DISTANCE, make_palette


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    parser.add_argument("--vae", required=True, help="folder or hub id of a pipeline")
    parser.add_argument(
        "--num-categories",
        type=int,
        help="of the palette, which stand for all; default: all",
    )
    parser.add_argument("--min-distance", type=float, default=MIN_DISTANCE, help="of colours")
    parser.add_argument("--num-images", type=int, default=100)
    parser.add_argument("--scale", type=int, nargs="+", default=[1, 2], help="of the colour map")
    parser.add_argument("--plain", action="store_true", help="do not calibrate the palette")
    parser.add_argument("--device", default="cpu", help="of torch (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a json file")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    dataset = load_dataset(args.dataset)
    ids = [category["id"] for category in dataset.data["categories"]]
    count = len(ids) if args.num_categories is None else args.num_categories
    stands_for = deal_out(ids, count, args.seed)
    palette = make_palette(sorted(set(stands_for.values())), min_distance=args.min_distance)
    vae = load_autoencoder(args.vae, args.device)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    reconstruct = reconstruct_with(vae)
    if not args.plain:
        palette = calibrate_palette(palette, reconstruct)
    images = list(itertools.islice(read_segments(dataset, stands_for), args.num_images))
    reports = []
    for scale in args.scale:
        report = measure_round_trip(
            images, palette, reconstruct, scale=scale, reach=round(REACH * factor / 4)
        )
        reports.append({"categories": count, "calibrated": not args.plain, **report})
        print(
            f"{count} categories, {scale} times as large: {report['kept']} of "
            f"{report['instances']} instances kept ({100 * report['share']:.1f} %), "
            f"{report['extra']} of {report['segments']} segments are none",
            flush=True,
        )
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(args.out, reports, indent=1)


if __name__ == "__main__":
    cli.run(main)
