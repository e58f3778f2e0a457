from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.extras import MissingExtra
from mf_plugin.mosaic.clip import LOW_CLIP_SCORE, ClipFilterConfig, ClipScorer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ["a photo of a cat", "a photo of a bath towel, a towel for a bath"]


@pytest.fixture(scope="module")
def folder(tiny_clip_folder):
    return tiny_clip_folder


@pytest.fixture(scope="module")
def scorer(folder):
    return ClipScorer(folder)


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(0)
    sizes = [(16, 16), (40, 24), (9, 30), (3, 3), (1, 5)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.fixture(scope="module")
def logits(folder, crops):
    """CLIP's own logits of each crop alone with both texts, over its temperature: cosines."""
    model = transformers.CLIPModel.from_pretrained(folder)
    processor = transformers.CLIPProcessor.from_pretrained(folder)
    rows = []
    for crop in crops:
        inputs = processor(
            images=[crop],
            text=TEXTS,
            return_tensors="pt",
            padding="max_length",
            max_length=16,
            truncation=True,
            input_data_format="channels_last",
        )
        with torch.no_grad():
            rows.append(model(**inputs).logits_per_image[0])
    return torch.stack(rows).numpy()


def test_score_is_a_hundred_times_the_cosine(scorer, crops, logits):
    expected = 100 * logits / np.exp(1.5)
    assert expected.std() > 1  # there is something to compare
    texts = [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[1], TEXTS[1]]
    scores = scorer.score(crops, texts)
    assert scores.dtype == np.float32
    assert scores == pytest.approx(expected[range(5), [0, 1, 0, 1, 1]], abs=1e-3)
    assert scorer.score([], []).shape == (0,)


def test_class_confidence_is_clips_softmax(scorer, crops, logits):
    expected = torch.from_numpy(logits).softmax(dim=1).numpy()
    confidence = scorer.class_confidence(crops, TEXTS)
    assert confidence == pytest.approx(expected, abs=1e-5)
    assert np.ptp(confidence[:, 0]) > 0.01
    assert scorer.class_confidence(crops[:1], TEXTS[:1]).tolist() == [[1.0]]


def test_many_crops_and_texts(scorer, crops):
    """More than fit in one batch."""
    some = crops * 8
    texts = TEXTS + [f"a photo of a {letter}" for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"]
    confidence = scorer.class_confidence(some, texts)
    assert confidence.shape == (40, 38)
    assert confidence[:5] == pytest.approx(confidence[35:], abs=1e-6)
    assert np.array_equal(confidence, scorer.class_confidence(some, texts))
    alone = scorer.score([some[36]], [texts[35]])
    assert scorer.score(some[:38], texts)[36] != pytest.approx(alone[0], abs=1e-3)
    assert scorer.score(some[:38], texts[::-1])[36] == pytest.approx(
        scorer.score([some[36]], [texts[1]])[0], abs=1e-3
    )


def test_filter():
    config = ClipFilterConfig("a/b")
    assert [config.reason(score) for score in (20.99, 21.0, 30.0)] == [LOW_CLIP_SCORE, "", ""]
    with pytest.raises(InputError, match="clip min_score is 2100; expected -100 to 100"):
        ClipFilterConfig("a/b", min_score=2100)


def test_bad_input_is_named(scorer, crops):
    with pytest.raises(InputError, match="5 crops for 2 texts; expected one each"):
        scorer.score(crops, TEXTS)
    with pytest.raises(InputError, match="no texts of classes"):
        scorer.class_confidence(crops, [])


def test_models_that_cannot_be_used_are_named(folder, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="CLIP model '.*none': no such folder; expected one, or a"):
        ClipScorer(tmp_path / "none")
    with pytest.raises(InputError, match="cannot be loaded"):
        ClipScorer(tmp_path)
    other = tmp_path / "other"
    transformers.BertConfig().save_pretrained(other)
    with pytest.raises(InputError, match="other' is of type bert; expected clip"):
        ClipScorer(other)
    with pytest.raises(InputError, match="device 'warp9' cannot be used"):
        ClipScorer(folder, device="warp9")
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    (bare / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"its tokenizer has \d tokens; expected 523"):
        ClipScorer(bare)
    for file in bare.glob("*processor_config.json"):
        file.unlink()
    with pytest.raises(InputError, match="bare' cannot be loaded"):
        ClipScorer(bare)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r'pip install -e "\.\[diffusion\]"'):
        ClipScorer(folder)


def test_missing_weights_are_named(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    partial = tmp_path / "partial"
    shutil.copytree(folder, partial)
    weights = load_file(partial / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="lacks 1 weights, the first visual_projection.weight"):
        ClipScorer(partial)
