"""A segmentation judge: train it, and write what it sees as results for tools/judge_seggen.py.

    python tools/judge_segmenter.py train --config configs/segmenter/judge_minilvis-demo.py \\
        --work-dir work_dirs/segmenter
    python tools/judge_segmenter.py predict --model work_dirs/segmenter/model --dataset DIR \\
        --out work_dirs/segmenter/on_DIR.segm.json

Training goes on from its last checkpoint. The judge measures, and never filters or selects any
image. Its data are those of the detector judge and the judge of parts (tools/judge_detector.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from mf_plugin import cli


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train, or go on")
    train.add_argument("--config", type=Path, required=True)
    train.add_argument("--work-dir", type=Path, required=True)
    predict = commands.add_parser("predict", help="write what is seen in a dataset's images")
    predict.add_argument("--model", type=Path, required=True, metavar="DIR")
    predict.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    predict.add_argument("--side", type=int, help="px of the longer side (default: as trained)")
    predict.add_argument("--out", type=Path, required=True, help="a results json")
    return parser.parse_args()


def train(args: argparse.Namespace) -> None:
    from mf_plugin.configfile import load_config_file
    from mf_plugin.evaluation.segmenter import SegmenterConfig, train_segmenter
    from mf_plugin.evaluation.valid_instances import load_dataset

    config = load_config_file(args.config, SegmenterConfig)
    sources = [load_dataset(folder) for folder in config.datasets]
    with tqdm(total=config.iterations, desc="segmenter", unit="it", mininterval=5) as bar:
        for done, loss in train_segmenter(config, sources, args.work_dir):
            bar.update(done - bar.n)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
    print(args.work_dir / "model")


def predict(args: argparse.Namespace) -> None:
    from mf_plugin.evaluation.segmenter import Segmenter
    from mf_plugin.evaluation.valid_instances import load_dataset
    from mf_plugin.lvis.io import write_json_atomic

    dataset = load_dataset(args.dataset)
    segmenter = Segmenter(args.model, args.side)
    images = segmenter.detect(dataset, args.dataset)
    total = len(dataset.data["images"])
    results = [entry for some in tqdm(images, "segmenter", total, unit="image") for entry in some]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(args.out, results)
    print(args.out)


def main() -> None:
    args = parse_arguments()
    {"train": train, "predict": predict}[args.command](args)


if __name__ == "__main__":
    cli.run(main)
