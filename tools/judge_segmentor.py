"""A judge of pixels: which category does each pixel of an image show?

It is trained on plentiful real renderings of mini-LVIS in every style, measures, and never selects
anything. What it sees is written like a detector's results, for tools/judge_seggen.py:

    python tools/judge_detector.py data --model mf_plugin/assets/tiny_sd --out work_dirs/judge/data
    python tools/judge_segmentor.py train --dataset work_dirs/judge/data/train \\
        --out work_dirs/judge/segmentor.pt
    python tools/judge_segmentor.py segment --model work_dirs/judge/segmentor.pt --dataset DIR \\
        --out work_dirs/judge/segmentor_on_DIR.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mf_plugin import cli


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="on a folder of real renderings")
    train.add_argument("--steps", type=int, help="of 16 images (default: 2000)")
    train.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    segment = commands.add_parser("segment", help="write what it sees in a folder's images")
    segment.add_argument("--model", type=Path, required=True, metavar="FILE", help="of train")
    for command, what in ((train, "the trained judge"), (segment, "a results json")):
        command.add_argument("--dataset", type=Path, required=True, metavar="DIR")
        command.add_argument("--out", type=Path, required=True, metavar="FILE", help=what)
    return parser.parse_args()


def main() -> None:
    from mf_plugin.evaluation import segmentor
    from mf_plugin.evaluation.valid_instances import load_dataset
    from mf_plugin.lvis.io import write_json_atomic

    args = parse_arguments()
    dataset = load_dataset(args.dataset)
    if args.command == "train":
        numbers = {"seed": args.seed}
        if args.steps is not None:
            numbers["steps"] = args.steps
        config = segmentor.SegmentorConfig(**numbers)
        segmentor.train_segmentor(dataset, args.dataset, config, progress=True).save(args.out)
    else:
        judge = segmentor.load_segmentor(args.model)
        results = segmentor.as_results(judge, dataset, args.dataset, progress=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(args.out, results)
    print(args.out)


if __name__ == "__main__":
    cli.run(main)
