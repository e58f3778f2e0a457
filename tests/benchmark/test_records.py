"""What a record says of its training."""

from __future__ import annotations

import json

from mf_plugin.benchmark.config import Arm, BenchmarkConfig, Detector
from mf_plugin.benchmark.plan import Training
from mf_plugin.benchmark.records import write_records
from mf_plugin.benchmark.steps import DONE, Step


def finish(step: Step, out, content: dict) -> None:
    """Leave what a run of the step would leave."""
    path = step.folder(out) / step.result
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    (step.folder(out) / DONE).write_text("{}")


def test_the_images_are_those_of_the_last_training(tmp_path):
    def step(kind: str, name: str, result: str, *needs: Step) -> Step:
        return Step(kind, name, "why", (name,), result, needs, root=tmp_path)

    data = step("generate", "generate", "dataset/annotations.json")
    start = step("train", "the weights it goes on from", "a.json")
    train = step("train", "train", "b.json", data, start)
    record = step("record", "record", "measured.json", train)
    out = tmp_path / "out"
    finish(data, out, {"images": [{}, {}], "annotations": [{}, {}, {}]})
    for one in (start, train, record):
        finish(one, out, {})

    arms = (Arm("real"), Arm("more", synthetic="g.py"))
    config = BenchmarkConfig("demo", (Detector("d", "D", "c"),), arms, seeds=(1,))
    (path,) = write_records(config, [Training("d", "more", 1, record)], out, tmp_path / "records")
    content = json.loads(path.read_text())
    assert content["synthetic"] == {"images": 2, "instances": 3}
    assert len(content["steps"]) == 4
