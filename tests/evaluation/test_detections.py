"""Reading results: pieces of a file, forms of masks, ranks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation import pieces
from mf_plugin.evaluation.detections import read_results
from mf_plugin.evaluation.pieces import pieces_of_file
from mf_plugin.evaluation.rare import evaluate_lvis, load_ground_truth

BOX = [10, 10, 40, 40]


@pytest.mark.parametrize(
    "text", ["[]", '[{"a": 1}]', '[{"a": 1}, {"a": {"b": 2}},{"a": [{"c": 1}, {"c": 2}]}\n]']
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_are_the_list(tmp_path, monkeypatch, text, size):
    monkeypatch.setattr(pieces, "PIECE_BYTES", size)
    path = tmp_path / "results.json"
    path.write_text("  " + text + "\n")
    found = list(pieces_of_file(path))
    assert [entry for piece in found for entry in piece] == json.loads(text)


def test_a_border_inside_a_text_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 8)
    entries = [{"name": "}, {"}, {"name": "} , {}, {"}, {"name": 3}]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(entries))
    assert [entry for piece in pieces_of_file(path) for entry in piece] == entries


@pytest.mark.parametrize("end", ["", "}", "}, {", "]]", "] x"])
def test_a_damaged_file_is_refused(tmp_path, monkeypatch, end):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 16)
    path = tmp_path / "results.json"
    path.write_text('[{"a": 1}, {"a": 2}, {"a": 3' + end)
    with pytest.raises(InputError, match="results.json: not a complete json"):
        list(pieces_of_file(path))


def test_a_file_in_pieces_scores_as_the_list(lvis, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 3000)
    truth = lvis.random_truth()
    results = lvis.random_results(truth, tie=True)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    assert evaluate_lvis(truth, path) == evaluate_lvis(truth, results)


def test_with_and_without_msgspec(lvis, tmp_path, monkeypatch):
    pytest.importorskip("msgspec", reason="msgspec is not installed: files are read as dicts")
    truth = load_ground_truth(lvis.random_truth())
    path = tmp_path / "results.json"
    path.write_text(json.dumps(lvis.random_results(truth.data)))
    assert type(next(pieces_of_file(path))[0]) is pieces.Head
    fast = evaluate_lvis(truth, path)
    monkeypatch.setattr(pieces, "msgspec", None)
    assert type(next(pieces_of_file(path))[0]) is dict
    assert evaluate_lvis(truth, path) == fast


def test_what_is_kept_and_how_it_ranks(lvis):
    # category 2 is not verified in image 1: its detection is dropped, but takes a place
    truth = load_ground_truth(
        lvis.ground_truth([([], []), ([2], [])], ["r", "f"], [(1, 1, BOX), (2, 1, BOX)])
    )
    given = [(1, 1, 0.5), (1, 2, 0.9), (2, 2, 0.3), (1, 1, 0.5), (2, 1, 0.7)]
    found = read_results([lvis.detection(i, c, BOX, s) for i, c, s in given], truth.scope)
    assert found.total == 5 and found.scores.tolist() == [0.5, 0.3, 0.5, 0.7]
    assert found.image.tolist() == [0, 1, 0, 1] and found.category.tolist() == [0, 1, 0, 0]
    assert found.rank_in_image.tolist() == [1, 1, 2, 0]
    assert found.rank_in_category.tolist() == [1, 1, 2, 0]
    assert found.boxes.shape == (4, 4) and len(found.masks) == 4


def test_masks_in_every_form_score_alike(lvis):
    truth = lvis.random_truth(1, num_images=6)
    coded = [
        lvis.detection(a["image_id"], a["category_id"], a["bbox"], 0.9)
        for a in truth["annotations"]
    ]
    polygons = [
        {**c, "segmentation": a["segmentation"]}
        for c, a in zip(coded, truth["annotations"], strict=True)
    ]
    counts = []
    for entry in coded:
        x, y, w, h = map(int, entry["bbox"])
        pixels = np.zeros((160, 160), bool)
        pixels[y : y + h, x : x + w] = True
        flat = np.flatnonzero(np.diff(pixels.T.reshape(-1), prepend=False, append=False))
        runs = np.diff(flat, prepend=0, append=160 * 160).tolist()
        counts.append({**entry, "segmentation": {"size": [160, 160], "counts": runs}})
    expected = evaluate_lvis(truth, coded)
    assert expected["segm"]["AP"] == pytest.approx(100)
    assert evaluate_lvis(truth, polygons) == expected
    assert evaluate_lvis(truth, counts) == expected
    assert evaluate_lvis(truth, [coded[0], *counts[1:]]) == expected


def test_a_field_that_some_lack_is_not_scored(lvis):
    truth = lvis.ground_truth([([], [])], ["r"], [(1, 1, BOX)])
    one = lvis.detection(1, 1, BOX, 0.5)
    box_alone = {k: v for k, v in one.items() if k != "segmentation"}
    mask_alone = {k: v for k, v in one.items() if k != "bbox"}
    found = evaluate_lvis(truth, [one, box_alone])
    assert found["bbox"]["AP"] == pytest.approx(100) and found["segm"]["AP"] is None
    found = evaluate_lvis(truth, [mask_alone, one])
    assert found["segm"]["AP"] == pytest.approx(100) and found["bbox"]["AP"] is None
    with pytest.raises(InputError, match="some detections lack bbox and some segmentation"):
        evaluate_lvis(truth, [box_alone, mask_alone])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": True}, "image_id True"),
        ({"score": "0.5"}, "score '0.5'"),
        ({"score": True}, "score True"),
        ({"bbox": [1, 2, 3, "4"]}, "bbox"),
        ({"segmentation": [[1, 2, 3, 4]]}, "segmentation without polygons of three points"),
        ({"segmentation": {"size": [160, 160], "counts": 3}}, "mask with counts 3"),
        ({"segmentation": None}, "segmentation of type NoneType"),
    ],
)
def test_values_of_wrong_type_are_named(lvis, change, message):
    truth = load_ground_truth(lvis.ground_truth([([], [])], ["r"], [(1, 1, BOX)]))
    good = lvis.detection(1, 1, BOX, 0.5)
    with pytest.raises(InputError, match=f"detection 2: {message}"):
        read_results([good, good, {**good, **change}], truth.scope)
