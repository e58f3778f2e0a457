"""How well SegGen's models keep to what they are given.

Mask2Img: mean IoU between the masks that images were painted over and what a judge sees in them.
DIR is a folder of ImgSyn or MaskSyn; judge, results and calibration are those of
tools/judge_detector.py. The same on real images with their own masks is what the judge gives at
best:

    python tools/judge_seggen.py faithfulness --dataset DIR \\
        --results work_dirs/judge/on_DIR/results.segm.json \\
        --calibration work_dirs/judge/calibration.json \\
        --real work_dirs/judge/data/calibration \\
        --real-results work_dirs/judge/run/results.segm.json --out work_dirs/faithfulness.json

Results of the segmentation judge, tools/judge_segmenter.py, are given without --calibration.

Text2Mask: which of the categories that captions name have a segment in the painted colour map, of
a MaskSyn folder, or of maps painted for the composed captions of a real dataset:

    python tools/judge_seggen.py agreement --masksyn DIR --out work_dirs/agreement.json
    python tools/judge_seggen.py agreement --model mf_plugin/assets/tiny_seggen/text2mask \\
        --dataset work_dirs/demo/data/val --num-maps 200 --out work_dirs/agreement.json

Segments count that MaskSyn would paint an object over: those of 64 pixels and a confidence of 0.5
and more, or what the folder's own gates left; --every-segment counts all that can be read.
A model's maps are read in all of the palette's colours, and in those of their caption's categories
alone, as MaskSyn can (text2mask_colors). Then precision is 1 by construction, so that what agrees
by chance is measured too: of maps that were painted for other captions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from mf_plugin import cli
from mf_plugin.errors import InputError


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    faithfulness = commands.add_parser("faithfulness", help="mIoU of masks with what a judge sees")
    faithfulness.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    faithfulness.add_argument("--results", type=Path, required=True, help="the judge's, on DIR")
    faithfulness.add_argument(
        "--calibration", type=Path, help="a detector's; a segmenter needs none: all it sees counts"
    )
    faithfulness.add_argument("--real", type=Path, metavar="DIR", help="a folder of real images")
    faithfulness.add_argument("--real-results", type=Path, help="the judge's, on the real images")

    agreement = commands.add_parser("agreement", help="painted segments with their captions")
    agreement.add_argument("--masksyn", type=Path, metavar="DIR", help="a folder of MaskSyn")
    agreement.add_argument("--model", type=Path, help="a Text2Mask, to paint maps with")
    agreement.add_argument("--dataset", type=Path, metavar="DIR", help="its captions are used")
    agreement.add_argument("--num-maps", type=int, default=200)
    agreement.add_argument("--steps", type=int, default=50, help="of the sampler")
    agreement.add_argument("--guidance", type=float, default=7.5)
    agreement.add_argument(
        "--every-segment", action="store_true", help="count small and uncertain segments too"
    )
    agreement.add_argument("--min-pixels", type=int, help="of segments that count")
    agreement.add_argument("--min-confidence", type=float, help="of segments that count")
    agreement.add_argument("--batch-size", type=int, default=4)
    agreement.add_argument("--device", default="cpu", help="of torch (default: %(default)s)")
    for command in (faithfulness, agreement):
        command.add_argument("--draws", type=int, default=1000, help="for the intervals")
        command.add_argument("--seed", type=int, default=0, help="of the draws, and of the maps")
        command.add_argument("--out", type=Path, required=True, help="a json file")
    return parser.parse_args()


def judge_faithfulness(args: argparse.Namespace) -> dict[str, Any]:
    from mf_plugin.evaluation import faithfulness, valid_instances

    if (args.real is None) != (args.real_results is None):
        raise InputError("--real and --real-results: expected both or none")
    score = valid_instances.read_score(args.calibration) if args.calibration else 0.0
    report: dict[str, Any] = {"score": score}
    sources = {"dataset": (args.dataset, args.results), "real": (args.real, args.real_results)}
    for name, (folder, results) in sources.items():
        if folder is None:
            continue
        dataset = valid_instances.load_dataset(folder)
        detections = valid_instances.load_detections(results, dataset)
        overlaps = faithfulness.count_overlaps(dataset, detections, score)
        report[name] = faithfulness.summarise_overlaps(
            dataset, overlaps, num_draws=args.draws, seed=args.seed
        )
        value, low, high = report[name]["miou"]
        print(
            f"{name}: mIoU {value:.3f} [{low:.3f}, {high:.3f}] of {report[name]['categories']} "
            f"categories in {report[name]['images']} images"
        )
    return report


def judge_agreement(args: argparse.Namespace) -> dict[str, Any]:
    from mf_plugin.evaluation import painted_maps

    if (args.masksyn is None) == (args.model is None):
        raise InputError("expected --masksyn DIR, or --model DIR with --dataset DIR")
    if args.masksyn is None:
        return judge_model(args)
    maps = painted_maps.read_masksyn(args.masksyn, every=args.every_segment)
    return measure_and_print(args, "", maps.named, maps.painted)


def judge_model(args: argparse.Namespace) -> dict[str, Any]:
    from mf_plugin.evaluation import painted_maps
    from mf_plugin.evaluation.valid_instances import load_dataset
    from mf_plugin.seggen.captions import expect_categories
    from mf_plugin.seggen.text2mask import Text2Mask
    from mf_plugin.vocabulary import Vocabulary

    if args.dataset is None:
        raise InputError("--model: expected --dataset DIR as well, whose captions it gets")
    gates = find_gates(args)
    dataset = load_dataset(args.dataset)
    captions = painted_maps.compose_captions(dataset, args.num_maps)
    vocabulary = Vocabulary.from_categories(dataset.data["categories"])
    named = [expect_categories(caption, vocabulary) for caption in captions]
    model = Text2Mask.from_pretrained(args.model, args.device)
    maps = painted_maps.paint_maps(
        model,
        captions,
        seed=args.seed,
        steps=args.steps,
        guidance=args.guidance,
        batch_size=args.batch_size,
    )

    readings = {
        "all_colors": (maps, False),
        "caption_colors": (maps, True),
        "by_chance": (np.roll(maps, 1, axis=0), True),
    }
    report = {}
    for name, (some, caption_colors) in readings.items():
        painted = painted_maps.read_maps(
            model, some, named, caption_colors=caption_colors, gates=gates
        )
        report[name] = measure_and_print(args, f"{name.replace('_', ' ')}, ", named, painted)
    return report


def find_gates(args: argparse.Namespace) -> Any:
    from mf_plugin.seggen.gates import GateConfig

    given = {"min_pixels": args.min_pixels, "min_confidence": args.min_confidence}
    given = {name: value for name, value in given.items() if value is not None}
    if args.every_segment and given:
        raise InputError(f"--every-segment with {', '.join(given)}: expected one or the other")
    return None if args.every_segment else GateConfig(**given)


def measure_and_print(args: argparse.Namespace, name: str, named: Any, painted: Any) -> Any:
    from mf_plugin.evaluation import caption_agreement

    report = caption_agreement.measure_agreement(
        named, painted, num_draws=args.draws, seed=args.seed
    )
    for share in caption_agreement.SHARES:
        if report[share] is not None:
            value, low, high = (100 * number for number in report[share])
            print(f"{name}{share.replace('_', ' ')}: {value:.1f} [{low:.1f}, {high:.1f}] %")
    return report


def main() -> None:
    from mf_plugin.lvis.io import write_json_atomic

    args = parse_arguments()
    report = {"faithfulness": judge_faithfulness, "agreement": judge_agreement}[args.command](args)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(args.out, report, indent=1)
    print(args.out)


if __name__ == "__main__":
    cli.run(main)
