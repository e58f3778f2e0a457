"""Json files of SegGen that are damaged: each is one error that names the file."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from mf_plugin.errors import InputError
from mf_plugin.seggen.captions import find_categories, read_blip2_captions, read_coco_captions
from mf_plugin.seggen.palette import make_palette
from mf_plugin.seggen.record import ModelRecord, find_base, read_record
from mf_plugin.seggen.training.captions import load_captions
from mf_plugin.seggen.training.checkpoints import Checkpoints
from mf_plugin.seggen.training.log import TrainingLog
from mf_plugin.vocabulary import Vocabulary

DIGITS = "9" * 6000
DAMAGED = {
    "deep": ("[" * 100_000, "is nested too deep"),
    "digits": (f'{{"annotations": [{{"image_id": {DIGITS}}}]}}', "is not valid json"),
    "half a character": ('{"captions": {"1": "\\ud800"}}', "holds half a character"),
    "cut off": ('{"annotations": [', "is not valid json"),
    "not text": (b"\xff\xfe", "is not valid json"),
}
RECORD = ModelRecord("text2mask", "a/b", "0" * 64, make_palette([3, 5]), "instance", (16, 24))


@pytest.fixture(params=DAMAGED.values(), ids=list(DAMAGED))
def damaged(request, tmp_path):
    """Files of any name, and what is wrong with them."""
    text, message = request.param

    def write(name: str) -> tuple[object, str]:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path, f"{re.escape(str(path))} {message}"

    return write


@pytest.mark.parametrize("read", [read_coco_captions, read_blip2_captions])
def test_captions(damaged, read):
    path, message = damaged("captions.json")
    with pytest.raises(InputError, match=message):
        read(path)


def test_a_record(damaged):
    path, message = damaged("seggen.json")
    with pytest.raises(InputError, match=message):
        read_record(path.parent)


def test_blip2s_captions_of_a_training(damaged):
    path, message = damaged("captions.json")
    source = SimpleNamespace(images=[], fingerprint=lambda: "0")
    config = SimpleNamespace(captions="blip2", blip2_model="m")
    with pytest.raises(InputError, match=message):
        load_captions(config, source, path.parent, "cpu")


def test_a_checkpoint(damaged):
    path, _ = damaged("train.json")
    with pytest.raises(InputError, match=r"train\.json is damaged: train\.json (is|holds)"):
        Checkpoints(None, path.parent, None, RECORD, "0").resume(str(path.parent))


def test_half_a_line_of_a_log_is_dropped(tmp_path):
    rows = [b'{"step": 1, "loss": 2.0}', b'{"step": 9}', b"[3]", b"\xff", b'{"step": 2, "lo']
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(rows))
    log = TrainingLog(SimpleNamespace(is_main_process=True, log=lambda *_, **__: None), tmp_path, 5)
    log.numbers(6, loss=1.0)
    steps = [json.loads(row)["step"] for row in (tmp_path / "log.jsonl").open()]
    assert steps == [1, 6]


@pytest.mark.parametrize(
    "entry", [{"image_id": True, "caption": "a dog"}, {"image_id": 1.0, "caption": "a dog"}, [1], 3]
)
def test_a_caption_without_an_image_id(tmp_path, entry):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"annotations": [entry]}))
    with pytest.raises(InputError, match="annotation .*: expected an image_id and a caption"):
        read_coco_captions(path)


@pytest.mark.parametrize("said", [None, [], {"captions": []}, {"captions": {"1": 3}}, {"a": {}}])
def test_no_captions_of_a_training(tmp_path, said):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"captions\.json: expected the captions\.json of a train"):
        read_blip2_captions(path)
    path.write_text(json.dumps({"captions": {"one": "a dog"}}))
    with pytest.raises(InputError, match=r"captions\.json has captions of no image ids"):
        read_blip2_captions(path)


def test_a_number_of_thousands_of_digits_in_a_caption():
    vocabulary = Vocabulary.from_names(["dog"])
    assert find_categories(f"{DIGITS} dogs", vocabulary) == (1, 1)
    assert find_categories("12 dogs and 300 dogs", vocabulary) == (1,) * 14
    assert find_categories("a dog", Vocabulary.from_names(["!?"])) == ()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"size": [16]}, "size is [16]; expected height and width, 1 to 65535 pixels"),
        ({"size": [16, 1e300]}, "size is [16, 1e+300]; expected height and width"),
        ({"size": [16, True]}, "size is [16, True]; expected height and width"),
        ({"base": None}, "base is None; expected text"),
        ({"revision": 3}, "revision is 3; expected text or None"),
        ({"training": [[1, 2]]}, "training is [[1, 2]]; expected an object"),
        ({"palette": 3}, "palette 3: expected ids, colors"),
        ({"kind": ["instance"]}, "kind is ['instance']; expected text"),
    ],
)
def test_a_records_values(tmp_path, changes, message):
    (tmp_path / "seggen.json").write_text(json.dumps({**RECORD.to_json(), **changes}))
    with pytest.raises(InputError, match=re.escape(f"seggen.json: {message}")):
        read_record(tmp_path)


def test_a_record_that_is_none(tmp_path):
    (tmp_path / "seggen.json").write_text("[]")
    with pytest.raises(InputError, match=r"the record is \[\]; expected an object"):
        read_record(tmp_path)
    (tmp_path / "seggen.json").write_text("{}")
    with pytest.raises(InputError, match="the key 'format' is missing"):
        read_record(tmp_path)
    (tmp_path / "seggen.json").write_text(json.dumps(RECORD.to_json()).replace("255.0", "NaN"))
    with pytest.raises(InputError, match="holds NaN or infinity"):
        read_record(tmp_path)
    for folder in (tmp_path / "none", tmp_path / ("x" * 300), "a\0b"):
        with pytest.raises(InputError, match=r"expected a folder with a seggen\.json"):
            read_record(folder)
    assert find_base(f"mf_plugin/{'x' * 300}") == f"mf_plugin/{'x' * 300}"
