"""A judge detector: which share of a synthetic dataset's instances is valid?

Valid: right class, and a mask of IoU >= 0.5 with what the judge sees there. The judge is trained on
plentiful real renderings of mini-LVIS in every style; it measures, and never selects anything.

    python tools/judge_detector.py data --model mf_plugin/assets/tiny_sd --out work_dirs/judge/data
    python tools/train_net.py --config configs/mmdet/judge_mask-rcnn_r18_fpn_minilvis-demo.py \\
        --work-dir work_dirs/judge/run
    python tools/judge_detector.py calibrate --dataset work_dirs/judge/data/calibration \\
        --results work_dirs/judge/run/results.segm.json --out work_dirs/judge/calibration.json

Then, for any dataset folder DIR of the same categories:

    python tools/train_net.py --config configs/mmdet/judge_mask-rcnn_r18_fpn_minilvis-demo.py \\
        --eval-only --work-dir work_dirs/judge/on_DIR --cfg-options \\
        load_from=work_dirs/judge/run/iter_5000.pth test_dataloader.dataset.data_root=DIR \\
        test_dataloader.dataset.ann_file=annotations.json test_dataloader.dataset.data_prefix.img=.
    python tools/judge_detector.py measure --dataset DIR \\
        --results work_dirs/judge/on_DIR/results.segm.json \\
        --calibration work_dirs/judge/calibration.json --out work_dirs/judge/on_DIR

Controls show what its numbers are worth: of the oracle of DIR (tools/build_minilvis.py --oracle)
nearly all instances must be valid, through a diffusion model's autoencoder as well, and of a
dataset with exchanged labels or moved masks nearly none:

    python tools/judge_detector.py controls --dataset work_dirs/demo/oracle --control vae \\
        --model mf_plugin/assets/tiny_sd --out work_dirs/judge/oracle_vae

A judge of SegGen's images, that were painted over parts of scenes, goes on from the one above:

    python tools/judge_detector.py data --model mf_plugin/assets/tiny_sd --zoom 1.5 --seed 1 \\
        --out work_dirs/judge_parts/data
    python tools/train_net.py --work-dir work_dirs/judge_parts/run \\
        --config configs/mmdet/judge_mask-rcnn_r18_fpn_minilvis-demo_parts.py

What the judge can read at most of an ImgSyn folder, the parts of real images in its images' place:

    python tools/judge_detector.py controls --dataset work_dirs/demo/imgsyn --control real \\
        --real-images work_dirs/demo/data/train --out work_dirs/judge/imgsyn_real
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from mf_plugin import cli

CONTROLS = ("labels", "masks", "vae", "real")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    data = commands.add_parser("data", help="compose the judge's training and calibration sets")
    data.add_argument("--preset", default="demo", help="of mini-LVIS (default: demo)")
    data.add_argument("--model", help="whose autoencoder softens images; default: a plain blur")
    data.add_argument("--num-images", type=int, help="of the training set (default: 4000)")
    data.add_argument("--num-calibration", type=int, help="default: 400")
    data.add_argument(
        "--zoom", type=float, default=1.0, help="scenes are parts, up to so much larger"
    )
    data.add_argument("--seed", type=int, default=0)
    data.add_argument("--out", type=Path, required=True, metavar="DIR")

    calibrate = commands.add_parser("calibrate", help="set the score from which detections count")
    measure = commands.add_parser("measure", help="the share of valid instances of a dataset")
    for command, where in ((calibrate, "a json file"), (measure, "a folder")):
        command.add_argument("--dataset", type=Path, required=True, metavar="DIR")
        command.add_argument(
            "--results", type=Path, required=True, help="what the judge sees in it, a results json"
        )
        command.add_argument("--out", type=Path, required=True, help=where)
    measure.add_argument("--calibration", type=Path, required=True, help="what calibrate wrote")
    measure.add_argument("--draws", type=int, default=1000, help="of images, for the intervals")
    measure.add_argument("--show", type=int, default=20, help="instances drawn of each outcome")
    measure.add_argument("--seed", type=int, default=0, help="of the draws")

    controls = commands.add_parser("controls", help="a dataset of which the share is known")
    controls.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    controls.add_argument("--control", choices=CONTROLS, required=True)
    controls.add_argument("--model", help="whose autoencoder the images go through (vae)")
    controls.add_argument("--real-images", metavar="DIR", help="the real images' folder (real)")
    controls.add_argument("--out", type=Path, required=True, metavar="DIR")
    return parser.parse_args()


def compose_data(args: argparse.Namespace) -> None:
    from mf_plugin.benchmark.judge_data import build_judge_split

    for split, count in (("train", args.num_images), ("calibration", args.num_calibration)):
        folder = args.out / split
        print(
            build_judge_split(
                folder, split, args.preset, args.seed, count, model=args.model, zoom=args.zoom
            )
        )


def calibrate(args: argparse.Namespace) -> None:
    from mf_plugin.evaluation import valid_instances
    from mf_plugin.lvis.io import write_json_atomic

    dataset = valid_instances.load_dataset(args.dataset)
    results = valid_instances.load_detections(args.results, dataset)
    calibration = valid_instances.calibrate(dataset, results)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(args.out, dataclasses.asdict(calibration), indent=1)
    print(
        f"score {calibration.score}: F1 {100 * calibration.f1:.1f}, recall "
        f"{100 * calibration.recall:.1f}, precision {100 * calibration.precision:.1f} of "
        f"{calibration.instances} instances"
    )
    print(args.out)


def measure(args: argparse.Namespace) -> None:
    from mf_plugin.evaluation import valid_instances
    from mf_plugin.evaluation.valid_instances_sheet import draw_outcomes
    from mf_plugin.lvis.io import write_json_atomic

    score = valid_instances.read_score(args.calibration)
    dataset = valid_instances.load_dataset(args.dataset)
    results = valid_instances.load_detections(args.results, dataset)
    verdicts = valid_instances.judge_instances(dataset, results, score)
    summary = valid_instances.summarise(dataset, verdicts, num_draws=args.draws, seed=args.seed)
    sheet = draw_outcomes(
        dataset, args.dataset, results, verdicts, per_outcome=args.show, seed=args.seed
    )
    args.out.mkdir(parents=True, exist_ok=True)
    report = {
        "score": score,
        **summary,
        "instances": valid_instances.as_json(verdicts),
    }
    write_json_atomic(args.out / "valid_instances.json", report, indent=1)
    sheet.save(args.out / "outcomes.png")
    print("\n".join(table(summary, valid_instances.OUTCOMES)))
    print(args.out / "valid_instances.json")


def table(summary: dict, outcomes: tuple[str, ...]) -> list[str]:
    """Lines of shares in percent with their intervals; categories by falling share of valid."""
    rows = [("all", summary["all"]), *summary["groups"].items()]
    by_share = sorted(summary["categories"].items(), key=lambda row: -row[1]["valid"][0])
    lines = [f"{'':18}{'instances':>10}" + "".join(f"{name:>24}" for name in outcomes)]
    for name, row in [*rows, *by_share]:
        shares = [
            "{:.1f} [{:.1f}, {:.1f}] %".format(*(100 * value for value in row[outcome]))
            for outcome in outcomes
        ]
        wrong = ", ".join(f"{other} {n}" for other, n in list(row.get("named", {}).items())[:3])
        cells = "".join(f"{share:>24}" for share in shares)
        lines.append(f"{name[:17]:18}{row['instances']:>10}{cells}  {wrong}".rstrip())
    return lines


def build_control(args: argparse.Namespace) -> None:
    from mf_plugin.benchmark import judge_controls

    print(
        judge_controls.build_control(
            args.out, args.dataset, args.control, args.model, args.real_images
        )
    )


COMMANDS = {
    "data": compose_data,
    "calibrate": calibrate,
    "measure": measure,
    "controls": build_control,
}


def main() -> None:
    args = parse_arguments()
    COMMANDS[args.command](args)


if __name__ == "__main__":
    cli.run(main)
