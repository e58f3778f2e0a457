"""From a config to a dataset folder with real, tiny models; resumed; bad input."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from mf_plugin.data.provider import SyntheticDataset
from mf_plugin.errors import InputError
from mf_plugin.generation.finished import read_finished, rewrite_report
from mf_plugin.generation.run import generate, preview
from mf_plugin.lvis.io import read_lvis, validate_lvis
from mf_plugin.seggen.gates import GateConfig
from mf_plugin.seggen.text2mask import Text2Mask


def read_lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file but run.json."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.name != "run.json"}


@pytest.fixture
def imgsyn(make_config, models):
    return make_config("imgsyn", mask2img=models / "mask2img")


@pytest.fixture
def masksyn(make_config, models, monkeypatch):
    """Untrained models paint noise: a cat is drawn into it, in the palette's colour."""
    sample = Text2Mask.__call__

    def sample_with_cat(self, captions, *, seeds, **settings):
        maps = sample(self, captions, seeds=seeds, **settings)
        maps[:] = self.palette.background
        for one, seed in zip(maps, seeds, strict=True):
            left = seed % 8
            one[4:28, left : left + 20] = self.palette.color(5)
        return maps

    monkeypatch.setattr(Text2Mask, "__call__", sample_with_cat)
    monkeypatch.setattr(Text2Mask, "reading_palette", property(lambda self: self.palette))
    return make_config(
        "masksyn", text2mask=models / "text2mask", mask2img=models / "mask2img", num_images=4
    )


def test_imgsyn_keeps_the_masks_of_real_images(imgsyn, tmp_path):
    folder = generate(dataclasses.replace(imgsyn, fit="stretch"), tmp_path / "set")
    data = read_lvis(folder / "annotations.json")
    validate_lvis(data, folder)
    assert len(data["images"]) == 6 and {i["source_image_id"] for i in data["images"]} == {1, 2, 4}
    two = next(image for image in data["images"] if image["source_image_id"] == 2)
    assert two["source_file_name"] == "images/2.png"
    assert two["not_exhaustive_category_ids"] == [3]
    shapes = {
        a["category_id"]: a["bbox"] for a in data["annotations"] if a["image_id"] == two["id"]
    }
    # Columns 20 to 39 of 60 become 11 to 20 of 32, rows 10 to 29 of 40 become 8 to 23, where
    # pixels count that are covered by half or more.
    assert shapes == {9: [0, 0, 32, 32], 5: [11, 8, 10, 16]}
    lines = read_lines(folder)
    assert {line["caption"] for line in lines if line["source_image_id"] == 2} <= {
        "a bow and a cat",
        "a photo of a bow and a cat",
    }
    provenance = json.loads((folder / "dataset.json").read_text())
    assert set(provenance["weights_sha256"]) == {"mask2img"} and provenance["source_sha256"]


def test_the_order_of_work_changes_no_byte(imgsyn, tmp_path):
    one = generate(imgsyn, tmp_path / "one", mask_workers=0)
    two = generate(imgsyn, tmp_path / "two", mask_workers=1)
    assert files_of(one) == files_of(two)


def test_masksyn_paints_masks_of_its_own(masksyn, tmp_path):
    folder = generate(masksyn, tmp_path / "set")
    data = read_lvis(folder / "annotations.json")
    validate_lvis(data, folder)
    lines = read_lines(folder)
    assert all("text2mask_seed" in line for line in lines)
    reasons = {reason for line in lines for reason in line["reasons"]}
    assert "" in reasons and reasons <= {"", "missing"}
    for line in lines:
        kept = [m["confidence"] for m, r in zip(line["measures"], line["reasons"]) if not r]
        assert all(0 <= value <= 1 for value in kept)
        named = {"missing"} & set(line["reasons"])
        image = next(i for i in data["images"] if i["id"] == line["image_id"])
        assert bool(named) == bool(image["not_exhaustive_category_ids"])
    records = read_finished(folder).records
    assert all("conditioning" in r for r in records if r["outcome"] == "accepted")
    page = (folder / "gallery.html").read_text()
    assert "factsWithoutConditioning" in page
    before = files_of(folder)
    rewrite_report(folder)
    assert files_of(folder) == before


def test_semantic_label_maps_have_the_vocabularys_order(make_config, save_models, tmp_path):
    models = save_models(tmp_path / "models", kind="semantic")
    gates = GateConfig(min_pixels=250, max_area=1)
    config = make_config(
        mask2img=models / "mask2img", kind="semantic", gates=gates, fit="stretch", copies=1
    )
    folder = generate(config, tmp_path / "set")
    by_source = {line["source_image_id"]: line for line in read_lines(folder)}
    one = by_source[1]
    assert sorted(zip(one["category_ids"], one["reasons"])) == [(5, ""), (11, "")]  # cats are one
    labels = np.asarray(Image.open(folder / one["label_file"]))
    assert labels.dtype == np.uint8 and labels.shape == (32, 32)
    assert np.unique(labels).tolist() == [0, 2, 4]  # places of 5 and 11 in the vocabulary
    assert labels[31, 0] == 0 and labels[0, 0] == 2 and labels[0, 16] == 4
    two = np.asarray(Image.open(folder / by_source[2]["label_file"]))
    assert two[16, 16] == 255 and two[0, 0] == 3  # the cat of 160 pixels is too small: ignored


def test_panoptic_json_and_pngs_belong_together(make_config, save_models, tmp_path):
    models = save_models(tmp_path / "models", kind="panoptic")
    config = make_config(mask2img=models / "mask2img", kind="panoptic", copies=1, fit="stretch")
    folder = generate(config, tmp_path / "set")
    data = json.loads((folder / "panoptic.json").read_text())
    assert {c["isthing"] for c in data["categories"]} == {1}
    entry = next(a for a in data["annotations"] if len(a["segments_info"]) == 3)
    pixels = np.asarray(Image.open(folder / "labels" / entry["file_name"]))
    for info in entry["segments_info"]:
        assert (pixels[..., 0] == info["id"]).sum() == info["area"]
    image = next(i for i in data["images"] if i["id"] == entry["image_id"])
    assert image["source_image_id"] == 1 and (folder / "images" / image["file_name"]).is_file()


@pytest.mark.parametrize(
    "reject, counts, images",
    [
        ("region", {"too_small": 1}, 3),
        ("erase", {"too_small": 1}, 3),
        ("image", {"image_rejected": 1, "too_small": 1}, 2),
    ],
)
def test_what_a_rejected_segment_does(imgsyn, tmp_path, reject, counts, images):
    config = dataclasses.replace(
        imgsyn, copies=1, reject=reject, fit="stretch", gates=GateConfig(170, 1.0)
    )
    folder = generate(config, tmp_path / "set")
    provenance = json.loads((folder / "dataset.json").read_text())
    assert provenance["rejections"] == counts and provenance["counts"]["images"] == images
    data = read_lvis(folder / "annotations.json")
    if reject != "image":
        two = next(image for image in data["images"] if image["source_image_id"] == 2)
        assert two["not_exhaustive_category_ids"] == [3, 5]


def test_rejected_segments_are_painted_or_erased(imgsyn, tmp_path):
    painted = {}
    for reject in ("region", "erase"):
        config = dataclasses.replace(
            imgsyn, copies=1, reject=reject, fit="stretch", gates=GateConfig(170, 1.0)
        )
        plan = config.make_plan()
        painter = plan.load_painter("cpu")
        results = [r for group in plan.groups for r in painter.paint(group)]
        two = next(r for r in results if {one.category_id for one in r.judged} == {5, 9})
        painted[reject] = two.colormap
    assert (painted["region"][15, 15] != painted["erase"][15, 15]).any()
    assert (painted["region"][2, 2] == painted["erase"][2, 2]).all()


def test_going_on_from_a_killed_run(imgsyn, tmp_path, monkeypatch):
    calm = generate(imgsyn, tmp_path / "calm")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("mf_plugin.generation.run.DatasetStore.finalise", die)
        with pytest.raises(KeyboardInterrupt):
            generate(imgsyn, tmp_path / "killed")
    (tmp_path / "killed/groups/00000001.json").unlink()
    with pytest.raises(InputError, match=r"config.mask2img_steps: 2 -> 3"):
        generate(dataclasses.replace(imgsyn, mask2img_steps=3), tmp_path / "killed")
    generate(imgsyn, tmp_path / "killed")
    assert files_of(tmp_path / "killed") == files_of(calm)


def test_changed_annotations_are_refused(imgsyn, tmp_path):
    folder = generate(dataclasses.replace(imgsyn, num_images=1), tmp_path / "set")
    path = Path(imgsyn.source.annotations)
    changed = tmp_path / "annotations.json"
    changed.write_text(path.read_text() + " ")
    source = dataclasses.replace(imgsyn.source, annotations=changed)
    config = dataclasses.replace(imgsyn, num_images=1, source=source)
    with pytest.raises(InputError, match="source_sha256"):
        generate(config, folder)


def test_a_preview_and_the_provider(imgsyn, tmp_path):
    one = preview(imgsyn, tmp_path / "set", 1)
    assert one.name == "set-preview" and len(read_lines(one)) == 1
    dataset = SyntheticDataset(tmp_path / "set", dataclasses.replace(imgsyn, num_images=2))
    assert len(read_lines(dataset.ensure())) == 2


def test_models_that_do_not_fit_are_named(make_config, models, save_models, tmp_path):
    other = save_models(tmp_path / "other", ids=(3, 5, 9))
    both = save_models(tmp_path / "both", ids=(3, 5, 9, 11, 12))
    folders = {"text2mask": models / "text2mask", "mask2img": models / "mask2img"}
    for changes, message in (
        ({"mask2img": other / "mask2img"}, r"no colour for 1 .* 4 categories, the first 'tub'"),
        ({"text2mask": both / "text2mask"}, "1 of its 5 category ids are not the source's"),
        ({"kind": "semantic"}, "is for kind 'instance'; the config's is 'semantic'"),
        ({"size": (36, 32)}, r"size is \(36, 32\); expected .* multiples of 8"),
        ({"mask2img": tmp_path}, "expected a folder with a seggen.json"),
        ({"mask2img": models / "text2mask"}, "is a text2mask; expected a mask2img"),
    ):
        config = make_config("masksyn", **{**folders, **changes})
        with pytest.raises(InputError, match=message):
            generate(config, tmp_path / "set")
    assert not (tmp_path / "set").exists()
