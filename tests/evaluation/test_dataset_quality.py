"""A judge is asked about the right pixels, and about nothing that it does not know."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mf_plugin.errors import InputError
from mf_plugin.evaluation import dataset_quality
from mf_plugin.evaluation.dataset_quality import (
    DatasetJudge,
    crop_object,
    load_judge,
    score_objects,
)
from mf_plugin.evaluation.judge import JudgeConfig
from mf_plugin.generation.finished import FinishedDataset
from mf_plugin.lvis.sprites import preset_categories


@pytest.mark.parametrize(
    "bbox, fill, rows, columns",
    [
        ([2.0, 2.0, 4.0, 4.0], 1.0, [2, 3, 4, 5], [2, 3, 4, 5]),
        ([3.0, 3.0, 2.0, 1.0], 0.5, [2, 3, 4, 5], [2, 3, 4, 5]),
        ([0.0, 5.0, 2.0, 2.0], 0.5, [4, 5, 6, 7], [0, 0, 1, 2]),
        ([6.0, 6.0, 2.0, 2.0], 0.5, [5, 6, 7, 7], [5, 6, 7, 7]),
        ([0.0, 0.0, 8.0, 2.0], 0.8, [0, 0, 0, 0, 0, 1, 2, 3, 4, 5], [0, *range(8), 7]),
    ],
)
def test_a_crop_is_a_square_about_the_box(bbox, fill, rows, columns):
    y, x = np.mgrid[:8, :8].astype(np.uint8)
    crop = crop_object(np.dstack([y, x, x]), bbox, fill)
    assert crop[:, 0, 0].tolist() == rows and crop[0, :, 1].tolist() == columns


CATEGORIES = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}, {"id": 3, "name": "unknown"}]


@pytest.fixture
def dataset(tmp_path) -> FinishedDataset:
    """A canvas with a red, a blue and an unknown object asked for as such, another one with a red
    thing where a blue one was asked for; between them rejected ones."""
    (tmp_path / "images").mkdir()
    image = np.full((40, 60, 3), 128, np.uint8)
    image[5:15, 5:15], image[5:15, 35:45] = (250, 0, 0), (0, 0, 250)
    Image.fromarray(image).save(tmp_path / "images" / "1.png")

    def kept(category_id: int, left: float) -> dict:
        return {"category_id": category_id, "reason": "", "bbox": [left, 5.0, 10.0, 10.0]}

    no = {"category_id": 1, "reason": "too_small"}
    file_name = "images/1.png"
    records = [
        {"index": 4, "file_name": file_name, "objects": [kept(1, 5.0), no, kept(2, 35.0)]},
        {"index": 5, "objects": [no]},
        {"index": 6, "file_name": file_name, "objects": [no, kept(3, 5.0), kept(2, 5.0)]},
    ]
    return FinishedDataset(tmp_path, records, CATEGORIES, {})


def classify_by_colour(crops) -> np.ndarray:
    """Share of red against blue in the middle of each crop: probabilities of (blue, red)."""
    centres = np.array([crop[crop.shape[0] // 2, crop.shape[1] // 2] for crop in crops], float)
    red = centres[:, 0] / (centres[:, 0] + centres[:, 2])
    return np.stack([1 - red, red], axis=1)


JUDGE = DatasetJudge("by colour", ("blue", "red"), classify_by_colour, {"accuracy": 1.0})


@pytest.mark.parametrize("chunk", [1, 256])
def test_every_accepted_object_of_a_known_category_is_scored(dataset, monkeypatch, chunk):
    monkeypatch.setattr(dataset_quality, "_CHUNK", chunk)
    scores = score_objects(dataset, JUDGE)
    assert scores.confidence == {(4, 0): 1.0, (4, 2): 1.0, (6, 2): 0.0}
    assert scores.named == {(4, 0): "red", (4, 2): "blue", (6, 2): "red"}
    assert (scores.judge, scores.facts) == ("by colour", {"accuracy": 1.0})


def test_an_image_that_is_missing(dataset):
    (dataset.folder / "images" / "1.png").unlink()
    with pytest.raises(InputError, match="image .*1.png cannot be read"):
        score_objects(dataset, JUDGE)


@pytest.mark.parametrize("source", ["minilvis", "minilvis:", "clip:", "me", ""])
def test_a_judge_that_is_none(dataset, source):
    with pytest.raises(InputError, match=f"judge '{source}'; expected minilvis:FOLDER or clip:"):
        load_judge(source, dataset)


def test_categories_that_mini_lvis_does_not_know(dataset, tmp_path):
    with pytest.raises(InputError, match="knows 0 of the dataset's 3 categories"):
        load_judge(f"minilvis:{tmp_path}", dataset)


def test_the_mini_lvis_judge_knows_the_dataset_s_categories(dataset, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(dataset_quality, "JudgeConfig", lambda: JudgeConfig(steps=2, width=4))
    monkeypatch.setattr(dataset_quality, "_HELD_OUT", 20)
    known = preset_categories("demo")[3:6]
    dataset = FinishedDataset(tmp_path, [], [*known, {"id": 9999, "name": "not_in_lvis"}], {})
    judge = load_judge(f"minilvis:{tmp_path / 'judge'}", dataset)
    assert judge.categories == tuple(category["name"] for category in known)
    assert 0 <= judge.facts["held_out_top1"] <= 1
    assert (tmp_path / "judge" / "judge.pt").is_file()
    crops = [np.zeros((side, side, 3), np.uint8) for side in (7, 200)]
    probabilities = judge.classify(crops)
    assert probabilities.shape == (2, 3)
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory, tokenizer) -> str:
    """A real CLIP of random weights that sees 16 x 16 pixels."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    text = dict(sizes, vocab_size=len(tokenizer), max_position_embeddings=77)
    text |= dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id)
    vision = dict(sizes, image_size=16, patch_size=8)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    folder = tmp_path_factory.mktemp("clip")
    transformers.CLIPModel(config).save_pretrained(folder)
    side = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    images = transformers.CLIPImageProcessor(**side)
    transformers.CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return str(folder)


def test_clip_tells_all_categories_of_the_dataset_apart(dataset, clip_folder):
    judge = load_judge(f"clip:{clip_folder}", dataset)
    assert judge.categories == ("red", "blue", "unknown")
    probabilities = judge.classify([np.full((9, 9, 3), v, np.uint8) for v in (0, 90, 255)])
    assert probabilities.shape == (3, 3) and len(np.unique(probabilities[0])) == 3
    assert probabilities.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    scores = score_objects(dataset, judge)
    assert set(scores.confidence) == {(4, 0), (4, 2), (6, 1), (6, 2)}
