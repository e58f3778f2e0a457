from __future__ import annotations

from pathlib import Path

import pytest

from mf_plugin.errors import InputError
from mf_plugin.evaluation.colormap_quality import deal_out, measure_round_trip, read_segments
from mf_plugin.evaluation.valid_instances import load_dataset
from mf_plugin.lvis.minilvis import build_split
from mf_plugin.seggen.calibration import calibrate_palette, load_autoencoder, reconstruct_with
from mf_plugin.seggen.palette import make_palette

TINY = Path(__file__).parents[2] / "mf_plugin/assets/tiny_sd"


def erase_right_half(images):
    images = images.copy()
    images[:, :, images.shape[2] // 2 :] = 0
    return images


def test_counts_instances_of_sixteen_pixels(lvis):
    objects = [(1, 1, [0, 0, 16, 16]), (1, 2, [100, 0, 30, 30]), (1, 2, [0, 100, 40, 15])]
    dataset = load_dataset(lvis.ground_truth([((), ())], "rcf", objects))
    palette = make_palette([1, 2, 3])
    (segments,) = read_segments(dataset, {1: 1, 2: 2})
    assert [(c, int(m.sum())) for c, m in segments] == [(1, 256), (2, 900), (2, 600)]
    for scale in (1, 2):
        found = measure_round_trip([segments], palette, lambda images: images, scale=scale)
        assert (found["kept"], found["instances"], found["extra"]) == (2, 2, 0)
    found = measure_round_trip([segments], palette, erase_right_half)
    assert (found["kept"], found["instances"], found["segments"]) == (1, 2, 2)
    assert found["share"] == 0.5
    (some,) = read_segments(dataset, {1: 1, 2: 1})
    assert [c for c, _ in some] == [1, 1, 1]
    with pytest.raises(InputError, match="no instance of 16 x 16 pixels"):
        measure_round_trip([segments[2:]], palette, lambda images: images)


def test_all_categories_are_dealt_out():
    dealt = deal_out(range(10, 20), 3)
    assert sorted(dealt) == list(range(10, 20))
    drawn = set(dealt.values())
    assert len(drawn) == 3 and all(dealt[i] == i for i in drawn)
    assert deal_out([4, 7], 2) == {4: 4, 7: 7}
    assert deal_out(range(10, 20), 3) == dealt != deal_out(range(10, 20), 3, seed=1)
    for count in (0, 11):
        with pytest.raises(InputError, match=f"{count} categories: expected 1 to 10"):
            deal_out(range(10, 20), count)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "preset, count, twice, once", [("demo", 30, 0.95, 0.92), ("all", 133, 0.95, 0.85)]
)
def test_masks_survive_the_bundled_autoencoder(tmp_path, preset, count, twice, once):
    """docs/seggen.md has the shares: 95 % and more is for maps of twice the image's size."""
    pytest.importorskip("diffusers")
    dataset = load_dataset(build_split(tmp_path / "data", "train", preset, num_images=300))
    ids = [category["id"] for category in dataset.data["categories"]]
    stands_for = deal_out(ids, count)
    reconstruct = reconstruct_with(load_autoencoder(str(TINY)))
    palette = calibrate_palette(make_palette(sorted(set(stands_for.values()))), reconstruct)
    images = list(read_segments(dataset, stands_for))[:100]
    assert measure_round_trip(images, palette, reconstruct, scale=2)["share"] >= twice
    assert measure_round_trip(images, palette, reconstruct)["share"] >= once
