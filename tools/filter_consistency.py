"""Drop or mark the instances of a synthetic dataset that a detector does not see in its images.

    python tools/filter_consistency.py --dataset work_dirs/imgsyn --out work_dirs/imgsyn_agreed \\
        --results work_dirs/real_on_imgsyn/results.segm.json

Of a set with several images over each colour map (variants), choose the best one of each instead:

    python tools/filter_consistency.py --best-variant --dataset work_dirs/imgsyn4 \\
        --out work_dirs/imgsyn_best --results work_dirs/real_on_imgsyn4/results.segm.json

The results are a detector's on the dataset's images (docs/seggen.md says how they are made). It has
to be one that has seen real training images alone.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from mf_plugin import cli
from mf_plugin.evaluation.consistency import MATCHES, ConsistencyConfig, filter_consistency
from mf_plugin.evaluation.variants import choose_variants

logger = logging.getLogger("filter_consistency")


def main() -> None:
    defaults = ConsistencyConfig()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, type=Path, metavar="DIR")
    parser.add_argument("--results", required=True, type=Path, metavar="RESULTS.json")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--min-iou",
        type=float,
        default=defaults.min_iou,
        metavar="X",
        help="of the masks, from which a detection agrees (default: %(default)s)",
    )
    parser.add_argument(
        "--min-score", type=float, default=defaults.min_score, help="from which detections count"
    )
    parser.add_argument(
        "--match",
        choices=MATCHES,
        default=defaults.match,
        help="mask: a detection of any category agrees; category: it has to name the instance's",
    )
    parser.add_argument("--mark", action="store_true", help="keep what disagrees, and mark it")
    parser.add_argument(
        "--best-variant",
        action="store_true",
        help="of each colour map's images keep the one that agrees best, whole",
    )
    args = parser.parse_args()
    config = ConsistencyConfig(args.min_iou, args.min_score, args.match, args.mark)
    act = choose_variants if args.best_variant else filter_consistency
    out = act(args.dataset, args.results, args.out, config)
    dataset = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    logger.info(
        "%d of %d instances dropped or marked (%s); %d annotations in %d images are left in %s",
        dataset["derived"][dataset["derived"]["reason"]],
        dataset["derived"]["from"]["counts"]["annotations"],
        dataset["derived"]["reason"],
        dataset["counts"]["annotations"],
        dataset["counts"]["images"],
        out / "gallery.html",
    )


if __name__ == "__main__":
    cli.run(main)
